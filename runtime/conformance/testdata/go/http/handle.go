// Package function is the HTTP function that the conformance suite drives. The
// other languages' fixtures behave alike.
package function

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Handle does what the path says, or what "do" in the body of a job says.
func Handle(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/slow":
		fmt.Fprintln(os.Stderr, "begun")
		time.Sleep(number(r, "ms") * time.Millisecond)
		say(w, "slow done")
	case "/fail":
		panic("boom")
	case "/halfway":
		say(w, "half")
		panic("boom halfway")
	case "/stream":
		say(w, "first\n")
		<-released
		say(w, "second\n")
	case "/release":
		release()
	case "/read":
		read(w, r)
	case "/deadline":
		<-r.Context().Done()
		http.Error(w, "the function saw its deadline", http.StatusGatewayTimeout)
	case "/beyond":
		say(w, "half")
		time.Sleep(number(r, "ms") * time.Millisecond)
		say(w, "whole")
	case "/hang":
		say(w, "half")
		fmt.Fprintln(os.Stderr, "begun")
		select {}
	case "/log":
		slog.InfoContext(r.Context(), "said", "tier", "gold")
	case "/print":
		fmt.Println("plain words")
	case "/headers":
		w.Header().Set("X-Made", "yes")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.WriteHeader(http.StatusCreated)
		say(w, "made")
	case "/status":
		w.WriteHeader(int(number(r, "code")))
	case "/trace":
		reply(w, map[string]string{"traceparent": r.Header.Get("Traceparent"), "tracestate": r.Header.Get("Tracestate")})
	case "/socket":
		socket(w, r)
	default:
		echo(w, r)
	}
}

// echo answers with what the function saw of the request.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	var job struct {
		Do     string
		Status int
	}
	_ = json.Unmarshal(body, &job)
	switch job.Do {
	case "fail":
		panic("boom")
	case "status":
		w.WriteHeader(job.Status)
	case "wait":
		fmt.Fprintln(os.Stderr, "begun")
		time.Sleep(time.Hour)
	case "large":
		say(w, strings.Repeat("x", 5000))
	default:
		reply(w, map[string]string{
			"method": r.Method, "target": r.RequestURI, "header": r.Header.Get("X-Test"), "contentType": r.Header.Get("Content-Type"),
			"index": r.Header.Get("Knit-Job-Index"), "body": string(body),
		})
	}
}

func read(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		http.Error(w, err.Error(), http.StatusRequestTimeout)
	case err != nil:
		panic(err)
	default:
		say(w, fmt.Sprintf("%d bytes", n))
	}
}

var (
	released = make(chan struct{})
	release  = sync.OnceFunc(func() { close(released) })
)

func number(r *http.Request, name string) time.Duration {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil {
		panic(err)
	}
	return time.Duration(n)
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		panic(err)
	}
}

func say(w http.ResponseWriter, text string) {
	_, _ = io.WriteString(w, text)
	w.(http.Flusher).Flush()
}
