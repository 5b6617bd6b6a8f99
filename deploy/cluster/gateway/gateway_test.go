package gateway

import (
	"net"
	"strings"
	"testing"
	"time"

	kubefake "k8s.io/client-go/kubernetes/fake"
	networkingfake "knative.dev/networking/pkg/client/clientset/versioned/fake"
)

// address is a listener that only has an address.
type address string

func (a address) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (a address) Close() error              { return nil }
func (a address) Addr() net.Addr {
	tcp, err := net.ResolveTCPAddr("tcp", string(a))
	if err != nil {
		panic(err)
	}
	return tcp
}

func TestNewChecksItsOptions(t *testing.T) {
	on := func(list ...string) []net.Listener {
		var out []net.Listener
		for _, a := range list {
			out = append(out, address(a))
		}
		return out
	}
	good := func() Options {
		return Options{
			Kube: kubefake.NewClientset(), Networking: networkingfake.NewSimpleClientset(), ProbeAddress: "198.18.0.1",
			External: on("127.0.0.1:80", "198.18.0.1:8080"), ExternalTLS: on("198.18.0.1:8443"), Internal: on("0.0.0.0:8081"),
		}
	}
	for name, tc := range map[string]struct {
		change func(*Options)
		want   string // part of the error; empty is none
	}{
		"good":                 {func(*Options) {}, ""},
		"no TLS":               {func(o *Options) { o.ExternalTLS = nil }, ""},
		"no client":            {func(o *Options) { o.Kube = nil }, "Options.Kube"},
		"bad probe address":    {func(o *Options) { o.ProbeAddress = "bridge" }, "Options.ProbeAddress must be the IP address"},
		"no internal listener": {func(o *Options) { o.Internal = nil }, "no listener of Options.Internal"},
		"loopback only":        {func(o *Options) { o.External = on("127.0.0.1:80") }, "no listener of Options.External accepts connections to 198.18.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good()
			tc.change(&o)
			g, err := New(o)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if g.ports.http != 8080 || g.ports.internal != 8081 {
					t.Errorf("ports %+v", g.ports)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimitListener(inner, make(chan struct{}, 1))
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	for range 2 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	first := <-accepted
	if _, ok := first.(interface{ CloseWrite() error }); !ok {
		t.Errorf("%T lost the methods of TCP", first)
	}
	select {
	case <-accepted:
		t.Fatal("a second connection had a place")
	case <-time.After(50 * time.Millisecond): // nothing signals that nothing happens
	}
	_ = first.Close()
	_ = first.Close() // gives back one place only
	second := <-accepted
	_ = l.Close() // ends an Accept that waits for a place
	if _, open := <-accepted; open {
		t.Error("accepted after Close")
	}
	_ = second.Close()
}
