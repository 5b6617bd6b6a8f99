package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEveryPairOfProtocols(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("one", "http", says("one"))
	w.backend("two", "http2", says("two"))
	w.serve(ingressFor("both", rule(external, "one.test", pathTo("one")), rule(external, "two.test", pathTo("two"))))

	for name, tc := range map[string]struct {
		host string
		h2c  bool
		want string
	}{
		"HTTP/1.1 to HTTP/1.1": {"one.test", false, "one for one.test by HTTP/1.1"},
		"h2c to HTTP/1.1":      {"one.test", true, "one for one.test by HTTP/1.1"},
		"HTTP/1.1 to h2c":      {"two.test", false, "two for two.test by HTTP/2.0"},
		"h2c to h2c":           {"two.test", true, "two for two.test by HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := client(w.http, tc.h2c).Get("http://" + tc.host)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if got := string(body); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if got, want := res.ProtoMajor == 2, tc.h2c; got != want {
				t.Errorf("answered in %s", res.Proto)
			}
		})
	}
}

// Each line is sent only after the one before has come back: nothing on the
// way may wait for more bytes or for the end of the request.
func TestStreamingBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	echo := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(rw)
		_ = rc.EnableFullDuplex()
		rw.WriteHeader(http.StatusOK)
		_ = rc.Flush()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			fmt.Fprintln(rw, "echo "+lines.Text())
			_ = rc.Flush()
		}
	})
	w.backend("one", "http", echo)
	w.backend("two", "http2", echo)
	w.serve(ingressFor("echo", rule(external, "one.test", pathTo("one")), rule(external, "two.test", pathTo("two"))))

	for name, tc := range map[string]struct {
		host string
		h2c  bool
	}{
		"HTTP/1.1": {"one.test", false},
		"h2c":      {"two.test", true},
		"mixed":    {"one.test", true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			body, send := io.Pipe()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+tc.host, body)
			res, err := client(w.http, tc.h2c).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			lines := bufio.NewScanner(res.Body)
			for i := range 20 {
				fmt.Fprintf(send, "line %d\n", i)
				if !lines.Scan() {
					t.Fatalf("line %d: %v", i, lines.Err())
				}
				if got, want := lines.Text(), fmt.Sprintf("echo line %d", i); got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
			_ = send.Close()
			if lines.Scan() || lines.Err() != nil {
				t.Errorf("after the end: %q, %v", lines.Text(), lines.Err())
			}
		})
	}
}

func TestSlowBodyOfKnownLengthArrivesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	more := make(chan struct{})
	w.backend("slow", "http", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(rw, "a")
		_ = http.NewResponseController(rw).Flush()
		<-more
		_, _ = io.WriteString(rw, "b")
	}))
	w.serve(ingressFor("slow", rule(external, "slow.test", pathTo("slow"))))
	res, err := client(w.http, false).Get("http://slow.test")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(res.Body, first); err != nil || first[0] != 'a' {
		t.Fatalf("first byte: %q, %v", first, err)
	}
	close(more)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "b" {
		t.Fatalf("rest: %q, %v", rest, err)
	}
}

func TestAnswerBeforeTheUploadEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("picky", "http", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "too big", http.StatusRequestEntityTooLarge)
	}))
	w.serve(ingressFor("picky", rule(external, "picky.test", pathTo("picky"))))
	for name, h2c := range map[string]bool{"HTTP/1.1": false, "h2c": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			body, send := io.Pipe()
			defer send.Close()
			go func() {
				chunk := make([]byte, 16<<10)
				for {
					if _, err := send.Write(chunk); err != nil {
						return
					}
				}
			}()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://picky.test", body)
			res, err := client(w.http, h2c).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("got %s", res.Status)
			}
		})
	}
}

// What a client still sends of a body, when its request was answered, is no
// request.
func TestTheRestOfABodyIsNoRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("picky", "http", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex()
		_, _ = io.ReadFull(r.Body, make([]byte, 4))
		http.Error(rw, "too big", http.StatusRequestEntityTooLarge)
	}))
	w.serve(ingressFor("picky", rule(external, "picky.test", pathTo("picky"))))
	conn, err := net.Dial("tcp", w.http)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: picky.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n")
	answers := bufio.NewReader(conn)
	first, err := http.ReadResponse(answers, nil)
	if err != nil || first.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatalf("got %v, %v", first, err)
	}
	_, _ = io.Copy(io.Discard, first.Body)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: picky.test\r\n\r\n")
	if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
		t.Errorf("after the answer came %q, %v", rest, err)
	}
}

// The pod is done while the client neither sends nor closes.
func TestAnswerWhileTheClientIsSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	firstLine := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex()
		line, _ := bufio.NewReader(r.Body).ReadString('\n')
		fmt.Fprint(rw, line)
	})
	w.backend("one", "http", firstLine)
	w.backend("two", "http2", firstLine)
	w.serve(ingressFor("silent", rule(external, "one.test", pathTo("one")), rule(external, "two.test", pathTo("two"))))
	for name, tc := range map[string]struct {
		host string
		h2c  bool
	}{
		"HTTP/1.1 to HTTP/1.1": {"one.test", false},
		"HTTP/1.1 to h2c":      {"two.test", false},
		"h2c to HTTP/1.1":      {"one.test", true},
		"h2c to h2c":           {"two.test", true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			body, send := io.Pipe()
			defer send.Close()
			go func() { _, _ = io.WriteString(send, "hello\n") }()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+tc.host, body)
			res, err := client(w.http, tc.h2c).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			if err != nil || string(got) != "hello\n" {
				t.Errorf("got %q, %v", got, err)
			}
			w.eventually("the request is over in the gateway", func() bool { return w.gateway.inflight.Load() == 0 })
		})
	}
}

func TestTrailersBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Trailer", "Announced")
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(rw, r.Trailer.Get("Sum"))
		rw.Header().Set("Announced", "yes")
		rw.Header().Set(http.TrailerPrefix+"Surprise", "too")
	})
	w.backend("one", "http", handler)
	w.backend("two", "http2", handler)
	w.serve(ingressFor("t", rule(external, "one.test", pathTo("one")), rule(external, "two.test", pathTo("two"))))
	for name, tc := range map[string]struct {
		host string
		h2c  bool
	}{"HTTP/1.1": {"one.test", false}, "h2c": {"two.test", true}} {
		t.Run(name, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+tc.host, io.MultiReader(strings.NewReader("body")))
			req.Trailer = http.Header{"Sum": {"42"}}
			res, err := client(w.http, tc.h2c).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || string(body) != "42" {
				t.Errorf("request trailer arrived as %q, %v", body, err)
			}
			if a, s := res.Trailer.Get("Announced"), res.Trailer.Get("Surprise"); a != "yes" || s != "too" {
				t.Errorf("response trailers %v", res.Trailer)
			}
		})
	}
}

func TestRequestReachesThePodUnchanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("raw", "http", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "%s %s %s ua=%q ae=%q", r.Method, r.RequestURI, r.Host, r.UserAgent(), r.Header.Get("Accept-Encoding"))
	}))
	w.serve(ingressFor("raw", rule(external, "raw.test", pathTo("raw"))))
	conn, err := net.Dial("tcp", w.http)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "PUT /a%2Fb//c/../d?x=1;y=2&z=%zz HTTP/1.1\r\nHost: RAW.test.:8080\r\nConnection: close\r\n\r\n")
	reply, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	want := `PUT /a%2Fb//c/../d?x=1;y=2&z=%zz RAW.test.:8080 ua="" ae=""`
	if !strings.Contains(string(reply), want) {
		t.Errorf("got %s\nwant %s", reply, want)
	}
}

func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("x", "http", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := r.Header
		fmt.Fprintf(rw, "for=%q proto=%q host=%q forwarded=%q",
			h["X-Forwarded-For"], h["X-Forwarded-Proto"], h["X-Forwarded-Host"], h["Forwarded"])
	}))
	w.serve(ingressFor("x", rule(external, "x.test", pathTo("x")), rule(local, "x.default.svc.cluster.local", pathTo("x"))))
	lies := []string{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "bank", "Forwarded", "for=6.6.6.6"}

	_, got, _ := w.get(w.http, "http://x.test", lies...)
	if want := `for=["127.0.0.1"] proto=["http"] host=["x.test"] forwarded=[]`; got != want {
		t.Errorf("from outside\n got %s\nwant %s", got, want)
	}
	_, got, _ = w.get(w.internal, "http://x.default", lies...)
	if want := `for=["6.6.6.6, 127.0.0.1"] proto=["https"] host=["bank"] forwarded=[]`; got != want {
		t.Errorf("from inside\n got %s\nwant %s", got, want)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("x", "http", says("x"))
	w.serve(ingressFor("x", rule(external, "x.test", pathTo("x"))))
	code, _, _ := w.get(w.http, "http://x.test", "Big", strings.Repeat("a", maxHeaderBytes+8192))
	if code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("huge header: %d", code)
	}
	w.gateway.inflight.Store(maxRequests)
	code, body, _ := w.get(w.http, "http://x.test")
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "already serves") {
		t.Errorf("too many requests: %d %s", code, body)
	}
	w.gateway.inflight.Store(0)
	if code, _, _ = w.get(w.http, "http://x.test"); code != http.StatusOK {
		t.Errorf("afterwards: %d", code)
	}
}

func TestNoEndpointsIs503AndAShortGapIsBridged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.backend("gap", "http", says("gap"))
	w.serve(ingressFor("gap", rule(external, "gap.test", pathTo("gap"))))
	empty := endpointSlice(t, "gap", "http", server.Listener.Addr().String())
	empty.Name, empty.Endpoints = "gap-0", nil
	if _, err := w.kube.DiscoveryV1().EndpointSlices("default").Update(t.Context(), empty, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the backend is empty", func() bool {
		return w.gateway.backends.get(backendKey{"default", "gap", pathTo("gap").Splits[0].ServicePort}).unavailable() != ""
	})
	start := time.Now()
	code, body, header := w.get(w.http, "http://gap.test")
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "Service default/gap has no ready endpoints") || header.Get("Retry-After") == "" {
		t.Errorf("got %d %s %v", code, body, header)
	}
	if took := time.Since(start); took < endpointWindow || took > 2*endpointWindow {
		t.Errorf("answered after %v", took)
	}
	if !w.status("gap").IsReady() {
		t.Error("a ready Ingress must stay so when its pods go")
	}

	answer := make(chan int)
	go func() {
		code, _, _ := w.get(w.http, "http://gap.test")
		answer <- code
	}()
	w.eventually("the request is in flight", func() bool { return w.gateway.inflight.Load() == 1 })
	w.endpoints("gap", "http", server.Listener.Addr().String())
	if code := <-answer; code != http.StatusOK {
		t.Errorf("a request in the gap got %d", code)
	}
}

// refusing returns an address where nothing listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestDeadEndpointCostsNoRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.backend("half", "http", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(rw, r.Body)
	}))
	w.endpoints("half", "http", server.Listener.Addr().String(), refusing(t), refusing(t))
	w.serve(ingressFor("half", rule(external, "half.test", pathTo("half"))))
	for i := range 50 {
		res, err := client(w.http, false).Post("http://half.test", "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK || string(body) != "hello" {
			t.Fatalf("request %d: %s %q", i, res.Status, body)
		}
	}
}

func TestUnreadBodyCanBeSentAgain(t *testing.T) {
	for name, pumped := range map[string]bool{"direct": false, "pumped": true} {
		t.Run(name, func(t *testing.T) {
			closed := 0
			in := &http.Request{ProtoMajor: 1}
			req := &http.Request{}
			newRequestBody(countClose{strings.NewReader("hello"), &closed}, in).attach(req, pumped)
			_ = req.Body.Close() // what a transport does after a failed dial
			again, err := req.GetBody()
			if err != nil || closed != 0 {
				t.Fatalf("before the first byte: %v, closed %d times", err, closed)
			}
			if got, _ := io.ReadAll(again); string(got) != "hello" {
				t.Errorf("got %q", got)
			}
			if _, err := req.GetBody(); err == nil {
				t.Error("a body that was read must not be sent again")
			}
			if _ = again.Close(); closed != 1 {
				t.Errorf("closed %d times", closed)
			}
		})
	}
}

type countClose struct {
	io.Reader
	n *int
}

func (c countClose) Close() error { *c.n++; return nil }

func TestBrokenPodIs502(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("broken", "http", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	w.serve(ingressFor("broken", rule(external, "broken.test", pathTo("broken"))))
	code, body, _ := w.get(w.http, "http://broken.test")
	if code != http.StatusBadGateway || !strings.Contains(body, "Service default/broken broke off") {
		t.Errorf("got %d %s", code, body)
	}
}
