/* SHA-256 of many byte strings in one call, by the OpenSSL that hashlib is linked to. Optional: see hashing.py.
 *
 * No header of OpenSSL is needed: its types are opaque here, and its functions are looked up when this is imported.
 * Where one is not found the import fails. What goes in is bytes and nothing else, since bytes do not change; the GIL is
 * held, since batches are small.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <dlfcn.h>
#include <string.h>

enum { DIGEST_BYTES = 32, LARGEST_DIGEST_BYTES = 64 };

static const void *(*sha256)(void);
static void *(*context_new)(void);
static void (*context_free)(void *context);
static int (*context_copy)(void *into, const void *from);
static int (*digest_init)(void *context, const void *kind, void *engine);
static int (*digest_update)(void *context, const void *data, size_t length);
static int (*digest_final)(void *context, unsigned char *digest, unsigned int *length);

static const struct { const char *name; void *at; } FUNCTIONS[] = {
    {"EVP_sha256", &sha256}, {"EVP_MD_CTX_new", &context_new}, {"EVP_MD_CTX_free", &context_free},
    {"EVP_MD_CTX_copy_ex", &context_copy}, {"EVP_DigestInit_ex", &digest_init},
    {"EVP_DigestUpdate", &digest_update}, {"EVP_DigestFinal_ex", &digest_final},
};

static int checked(int done)
{
    if (!done && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "OpenSSL could not make a SHA-256");
    return done;
}

/* False, with TypeError where the item is not bytes. */
static int update(void *context, PyObject *item)
{
    char *data;
    Py_ssize_t length;
    return item && PyBytes_AsStringAndSize(item, &data, &length) == 0
           && digest_update(context, data, (size_t)length);
}

static PyObject *each(void *begun, void *context, PyObject *first, PyObject *second)
{
    unsigned char digest[LARGEST_DIGEST_BYTES];
    Py_ssize_t count = PyList_Size(first);
    PyObject *made = PyList_New(count), *item;
    for (Py_ssize_t at = 0; made && at < count; at++) {
        /* PyList_GetItem checks the bounds, and lends the item while the GIL is held. */
        if (!checked(context_copy(context, begun) && update(context, PyList_GetItem(first, at))
                     && (!second || update(context, PyList_GetItem(second, at)))
                     && digest_final(context, digest, NULL))
            || !(item = PyBytes_FromStringAndSize((char *)digest, DIGEST_BYTES))
            || PyList_SetItem(made, at, item) < 0)
            Py_CLEAR(made);
    }
    return made;
}

static PyObject *digests(PyObject *module, PyObject *args)
{
    PyObject *prefix, *first, *second = NULL, *made = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "SO!|O!", &prefix, &PyList_Type, &first, &PyList_Type, &second))
        return NULL;
    if (second && PyList_Size(first) != PyList_Size(second)) {
        PyErr_SetString(PyExc_ValueError, "the two lists are not of one length");
        return NULL;
    }
    void *begun = context_new(), *context = context_new();
    if (checked(begun && context && digest_init(begun, sha256(), NULL) && update(begun, prefix)))
        made = each(begun, context, first, second);
    context_free(context);
    context_free(begun);
    return made;
}

/* The libraries that a loaded _hashlib is linked to; the program itself where it is built in. */
static int look_up(PyObject *module)
{
    PyObject *hashlib = PyImport_ImportModule("_hashlib"), *name, *path = NULL;
    (void)module;
    if (!hashlib)
        return -1;
    name = PyModule_GetFilenameObject(hashlib);
    if (!name)
        PyErr_Clear();
    else if (!PyUnicode_FSConverter(name, &path))
        path = NULL;
    void *library = PyErr_Occurred() ? NULL : dlopen(path ? PyBytes_AsString(path) : NULL, RTLD_LAZY);
    Py_XDECREF(path);
    Py_XDECREF(name);
    Py_DECREF(hashlib);
    for (size_t at = 0; at < sizeof FUNCTIONS / sizeof *FUNCTIONS; at++) {
        void *found = library ? dlsym(library, FUNCTIONS[at].name) : NULL;
        if (!found) {
            PyErr_Format(PyExc_ImportError, "hashlib's OpenSSL has no %s to be found", FUNCTIONS[at].name);
            return -1;
        }
        memcpy(FUNCTIONS[at].at, &found, sizeof found);
    }
    return 0;
}

static PyMethodDef METHODS[] = {{"digests", digests, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, look_up}, {0, NULL}};
static PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_sha256", NULL, 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__sha256(void)
{
    return PyModuleDef_Init(&MODULE);
}
