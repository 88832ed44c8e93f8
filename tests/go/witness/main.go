// Command witness is a C2SP witness in memory, made of github.com/transparency-dev/witness: for tests only.
//
//	witness -key PRIVATE+KEY+… -log VKEY [-log VKEY …] [-listen 127.0.0.1:0]
//
// Prints its submission prefix, then serves POST /add-checkpoint and GET /<lower hex SHA-256(origin)>/checkpoint until its
// standard input ends.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

type logs map[string]note.Verifier

func (l logs) String() string { return "" }
func (l logs) Set(vkey string) error {
	verifier, err := note.NewVerifier(vkey)
	if err == nil {
		l[verifier.Name()] = verifier
	}
	return err
}

func main() {
	known := logs{}
	flag.Var(known, "log", "verifier key of a log")
	key := flag.String("key", "", "private key of the witness")
	listen := flag.String("listen", "127.0.0.1:0", "address")
	flag.Parse()
	if err := serve(known, *key, *listen); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(known logs, key, listen string) error {
	signer, err := f_note.NewSignerForCosignatureV1(key)
	if err != nil {
		return err
	}
	made, err := witness.New(context.Background(), witness.Opts{
		Persistence: inmemory.New(),
		Signers:     []note.Signer{signer},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			verifier, found := known[origin]
			return verifier, found, nil
		},
	})
	if err != nil {
		return err
	}
	socket, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(made).AddCheckpoint)
	for origin := range known {
		hash := sha256.Sum256([]byte(origin))
		routes.HandleFunc("GET /"+hex.EncodeToString(hash[:])+"/checkpoint", func(w http.ResponseWriter, r *http.Request) {
			note, err := made.GetCheckpoint(r.Context(), origin)
			if err != nil || note == nil {
				http.NotFound(w, r)
				return
			}
			_, _ = w.Write(note)
		})
	}
	go func() { _ = http.Serve(socket, routes) }()
	fmt.Printf("http://%s\n", socket.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}
