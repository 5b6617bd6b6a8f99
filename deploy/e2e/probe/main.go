// Command probe is the program in the pods of the end-to-end tests: a server
// that says who it is and remembers the CloudEvents that it got, and one-shot
// modes that ask other servers, use up memory or flood the log. Where there can
// be no arguments, as in a Function, PROBE holds them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = strings.Fields(os.Getenv("PROBE"))
	}
	if len(args) == 0 {
		args = []string{"serve"}
	}
	modes := map[string]func([]string) error{
		"serve": serve, "get": get, "dial": dial, "oom": oom, "flood": flood, "say": say, "read": read, "write": write,
		"crash": crash, "need": need, "late": late, "emit": emit,
	}
	mode := modes[args[0]]
	if mode == nil {
		fmt.Fprintf(os.Stderr, "probe: unknown mode %q\n", args[0])
		os.Exit(2)
	}
	if err := mode(args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "probe: %v\n", err)
		os.Exit(1)
	}
}

// event is what the server remembers of a CloudEvent in binary mode.
type event struct {
	ID, Type, Source, Data string
	Path                   string
}

const maxEvents = 1000

// serve answers GET with the host name, GET /events with what was received, GET
// /slow?for=3s the same after that time, GET /flood?mb=9 after so much log, and POST
// with 200; with REPLY_TYPE set, the answer is an event of that type whose data
// is the received data followed by SUFFIX, and with STATUS set it is that status
// alone. ONLY limits both to events whose data contains it. It ends well on SIGTERM, when
// everything that it was asked is answered.
func serve([]string) error {
	var mu sync.Mutex
	var events []event
	http.HandleFunc("GET /events", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(w).Encode(events)
	})
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		e := event{ID: r.Header.Get("Ce-Id"), Type: r.Header.Get("Ce-Type"), Source: r.Header.Get("Ce-Source"), Data: string(body), Path: r.URL.Path}
		mu.Lock()
		if len(events) < maxEvents {
			events = append(events, e)
		}
		mu.Unlock()
		status, err := strconv.Atoi(os.Getenv("STATUS"))
		only := strings.Contains(e.Data, os.Getenv("ONLY"))
		switch {
		case only && err == nil:
			w.WriteHeader(status)
		case only || err == nil:
			reply(w, e)
		}
	})
	http.HandleFunc("GET /slow", slow)
	http.HandleFunc("GET /flood", floodThenAnswer)
	http.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		host, _ := os.Hostname()
		fmt.Fprintf(w, "%s %s\n", host, os.Getenv("GREETING"))
	})
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	server := &http.Server{Addr: ":" + port, ReadHeaderTimeout: 5 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Shutdown(context.Background())
	}
}

func slow(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(d):
		host, _ := os.Hostname()
		fmt.Fprintln(w, host)
	case <-r.Context().Done():
	}
}

func floodThenAnswer(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("mb"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	line := strings.Repeat("x", 1023) + "\n"
	for range n << 10 {
		if _, err := io.WriteString(os.Stdout, line); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	fmt.Fprintln(w, "flooded")
}

func reply(w http.ResponseWriter, e event) {
	kind := os.Getenv("REPLY_TYPE")
	if kind == "" {
		return
	}
	h := w.Header()
	h.Set("Ce-Id", e.ID+"-reply")
	h.Set("Ce-Specversion", "1.0")
	h.Set("Ce-Type", kind)
	h.Set("Ce-Source", "probe")
	h.Set("Content-Type", "text/plain")
	fmt.Fprint(w, e.Data+os.Getenv("SUFFIX"))
}

// emit sends an event of the given type to K_SINK twice a second, as a source
// does whose sink Knative fills in.
func emit(args []string) error {
	client := http.Client{Timeout: askTimeout}
	for n := 0; ; n++ {
		req, err := http.NewRequest(http.MethodPost, os.Getenv("K_SINK"), strings.NewReader("emitted"))
		if err != nil {
			return err
		}
		for name, value := range map[string]string{"Id": strconv.Itoa(n), "Specversion": "1.0", "Type": args[0], "Source": "probe"} {
			req.Header.Set("Ce-"+name, value)
		}
		req.Header.Set("Content-Type", "text/plain")
		// The sink may not be there yet.
		if resp, err := client.Do(req); err != nil {
			fmt.Fprintln(os.Stderr, "probe:", err)
		} else {
			resp.Body.Close()
		}
		time.Sleep(500 * time.Millisecond)
	}
}

const askTimeout = 3 * time.Second

func get(urls []string) error {
	client := http.Client{Timeout: askTimeout}
	for _, u := range urls {
		resp, err := client.Get(u)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			return err
		}
		fmt.Printf("%d %s", resp.StatusCode, body)
	}
	return nil
}

func dial(targets []string) error {
	for _, t := range targets {
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t)
		cancel()
		if err != nil {
			return err
		}
		conn.Close()
	}
	return nil
}

// oom touches memory until the kernel ends the process.
func oom([]string) error {
	var kept [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		kept = append(kept, b)
		if len(kept) > 1<<14 {
			return fmt.Errorf("16 GiB touched and still alive")
		}
	}
}

// flood writes 200 MB of log and then waits.
func flood([]string) error {
	line := strings.Repeat("x", 1023) + "\n"
	for range 200_000 {
		if _, err := io.WriteString(os.Stdout, line); err != nil {
			return err
		}
	}
	time.Sleep(time.Hour)
	return nil
}

func say(words []string) error {
	_, err := fmt.Println(strings.Join(words, " "))
	return err
}

func read(paths []string) error {
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(data); err != nil {
			return err
		}
	}
	return nil
}

func write(args []string) error {
	return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")), 0o644)
}

// crash ends with an error that the words make.
func crash(words []string) error { return errors.New(strings.Join(words, " ")) }

// need serves if an address can be dialled, and ends with an error if not.
func need(targets []string) error {
	if err := dial(targets); err != nil {
		return err
	}
	return serve(nil)
}

// late serves after a time.
func late(args []string) error {
	d, err := time.ParseDuration(strings.Join(args, ""))
	if err != nil {
		return err
	}
	time.Sleep(d)
	return serve(nil)
}
