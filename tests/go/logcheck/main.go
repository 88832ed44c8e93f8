// Command logcheck checks a published log (C2SP tlog-tiles) with other people's code: golang.org/x/mod/sumdb and Tessera's fsck.
//
//	logcheck -with xmod|tessera -key VKEY [-old CHECKPOINT] DIRECTORY
//	logcheck -key VKEY -leaf FILE -proof FILE
//
// Exit status: 0 accepted, 1 refused with the reason on standard error.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	with := flag.String("with", "xmod", "xmod or tessera")
	key := flag.String("key", "", "verifier key of the log")
	old := flag.String("old", "", "an older checkpoint, with which the log must be consistent")
	leaf := flag.String("leaf", "", "an entry, to be checked with -proof")
	proof := flag.String("proof", "", "a tlog-proof of it")
	flag.Parse()
	if err := run(*with, *key, *old, *leaf, *proof, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}

func run(with, key, old, leaf, proof, directory string) error {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	switch {
	case proof != "":
		return checkProof(verifier, leaf, proof)
	case with == "tessera":
		return checkWithTessera(verifier, directory)
	default:
		return checkDirectory(verifier, directory, old)
	}
}

func checkWithTessera(verifier note.Verifier, directory string) (err error) {
	// fsck panics where a bundle has too few entries.
	defer func() {
		if found := recover(); found != nil {
			err = fmt.Errorf("fsck: %v", found)
		}
	}()
	source := client.FileFetcher{Root: directory}
	// With one worker fsck never ends where something is wrong.
	return fsck.New(verifier.Name(), verifier, source, leafHashes, fsck.Opts{N: 2}).Check(context.Background())
}

// checkDirectory authenticates every hash of every tile under the signed root, and every entry under its hash.
func checkDirectory(verifier note.Verifier, directory, old string) error {
	tree, err := readCheckpoint(verifier, filepath.Join(directory, "checkpoint"))
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, tiles{directory})
	for level := 0; tree.N>>level > 0; level += height {
		if err := readLevel(hashes, level, tree.N>>level); err != nil {
			return err
		}
	}
	for bundle := int64(0); bundle<<height < tree.N; bundle++ {
		if err := checkBundle(hashes, directory, bundle, min(tree.N-bundle<<height, 1<<height)); err != nil {
			return err
		}
	}
	if old == "" {
		return nil
	}
	before, err := readCheckpoint(verifier, old)
	if err != nil {
		return err
	}
	steps, err := tlog.ProveTree(tree.N, before.N, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(steps, tree.N, tree.Hash, before.N, before.Hash)
}

func readLevel(hashes tlog.HashReader, level int, count int64) error {
	for start := int64(0); start < count; start += 1 << height {
		var indexes []int64
		for n := start; n < min(count, start+1<<height); n++ {
			indexes = append(indexes, tlog.StoredHashIndex(level, n))
		}
		if _, err := hashes.ReadHashes(indexes); err != nil {
			return err
		}
	}
	return nil
}

func checkBundle(hashes tlog.HashReader, directory string, bundle, width int64) error {
	path := strings.Replace(tlog.Tile{H: height, L: 0, N: bundle, W: int(width)}.Path(), "tile/8/0/", "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(directory, path))
	if err != nil {
		return err
	}
	entries, err := split(data)
	if err != nil || int64(len(entries)) != width {
		return fmt.Errorf("%s: %d entries, not %d: %v", path, len(entries), width, err)
	}
	var indexes []int64
	for n := range entries {
		indexes = append(indexes, tlog.StoredHashIndex(0, bundle<<height+int64(n)))
	}
	found, err := hashes.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for n, entry := range entries {
		if found[n] != tlog.RecordHash(entry) {
			return fmt.Errorf("%s: entry %d is not the one of its hash", path, n)
		}
	}
	return nil
}

func checkProof(verifier note.Verifier, leaf, proof string) error {
	data, err := os.ReadFile(leaf)
	if err != nil {
		return err
	}
	file, err := os.ReadFile(proof)
	if err != nil {
		return err
	}
	head, signed, _ := strings.Cut(string(file), "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return err
	}
	var steps tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		steps = append(steps, hash)
	}
	tree, err := parseCheckpoint(verifier, []byte(signed))
	if err != nil {
		return err
	}
	return tlog.CheckRecord(steps, tree.N, tree.Hash, index, tlog.RecordHash(data))
}

func readCheckpoint(verifier note.Verifier, path string) (tlog.Tree, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	return parseCheckpoint(verifier, data)
}

func parseCheckpoint(verifier note.Verifier, data []byte) (tlog.Tree, error) {
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, errors.New("not a root")
	}
	return tlog.Tree{N: size, Hash: tlog.Hash(root)}, nil
}

// tiles reads tiles in the layout of tlog-tiles, where the height is not in the path.
type tiles struct{ directory string }

func (t tiles) Height() int                     { return height }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.directory, path))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", path, len(data))
		}
		found = append(found, data)
	}
	return found, nil
}

func split(bundle []byte) ([][]byte, error) {
	var entries [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle) < 2+int(bundle[0])<<8+int(bundle[1]) {
			return entries, errors.New("the bundle ends too soon")
		}
		end := 2 + int(bundle[0])<<8 + int(bundle[1])
		entries, bundle = append(entries, bundle[2:end]), bundle[end:]
	}
	return entries, nil
}

func leafHashes(bundle []byte) ([][]byte, error) {
	entries, err := split(bundle)
	if err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}
