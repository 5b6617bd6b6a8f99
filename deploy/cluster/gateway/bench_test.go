package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// benchFront is the handler of a gateway with many hosts and one real backend.
func benchFront(b *testing.B) *front {
	b.Helper()
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello, world")
	}))
	b.Cleanup(pod.Close)
	g := &Gateway{log: slog.New(slog.DiscardHandler), started: make(chan struct{}), transport: newTransport()}
	b.Cleanup(g.transport.closeIdle)
	g.proxy = g.newProxy()
	set := &endpointSet{endpoints: []*endpoint{{address: pod.Listener.Addr().String()}}, replaced: make(chan struct{})}
	var claims []claim
	for i := range 500 {
		ing := ingressFor(fmt.Sprint("x", i), rule(external, fmt.Sprintf("x%d.test", i), pathTo("x")))
		claims = append(claims, claim{1, compile(ing, "cluster.local", func(key backendKey) *backend {
			made := &backend{key: key}
			made.set.Store(set)
			return made
		})})
	}
	g.store(build(claims, nil, false))
	return &front{g: g, visibility: external}
}

// BenchmarkRequest is the processor time and memory of one proxied request,
// client and pod included.
func BenchmarkRequest(b *testing.B) {
	server := httptest.NewServer(benchFront(b))
	defer server.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := client(server.Listener.Addr().String(), false)
		for pb.Next() {
			if err := fetch(c); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func fetch(c *http.Client) error {
	res, err := c.Get("http://x250.test/")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// BenchmarkRoute is what the gateway itself adds before the proxy: the lookup
// of the host, the match of the path and the choice of the endpoint.
func BenchmarkRoute(b *testing.B) {
	f := benchFront(b)
	r := httptest.NewRequest(http.MethodGet, "http://x250.test:8080/a/b", nil)
	b.ReportAllocs()
	for b.Loop() {
		rt := f.table(r).lookup(external, hostname(r.Host)).match(r)
		if rt.choose().backend.set.Load().pick() == nil {
			b.Fatal("no endpoint")
		}
	}
}

// BenchmarkLatency sends 500 requests a second for the time of the benchmark and
// reports what the gateway adds, by comparing with the pod alone.
func BenchmarkLatency(b *testing.B) {
	f := benchFront(b)
	server := httptest.NewServer(f)
	defer server.Close()
	pod := f.g.table.Load().external["x250.test"].program.backends[0].set.Load().endpoints[0].address
	for name, address := range map[string]string{"pod": pod, "gateway": server.Listener.Addr().String()} {
		b.Run(name, func(b *testing.B) {
			c := client(address, false)
			took := make(chan time.Duration, b.N)
			tick := time.NewTicker(time.Second / 500)
			defer tick.Stop()
			b.ResetTimer()
			for range b.N {
				<-tick.C
				go func() {
					start := time.Now()
					if err := fetch(c); err != nil {
						b.Error(err)
					}
					took <- time.Since(start)
				}()
			}
			all := make([]time.Duration, 0, b.N)
			for range b.N {
				all = append(all, <-took)
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*95/100].Microseconds()), "p95-µs")
		})
	}
}
