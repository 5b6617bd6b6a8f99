package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

// serve starts a server for every kind of listener.
func (g *Gateway) serve(ctx context.Context, group *errgroup.Group) {
	external, internal := v1alpha1.IngressVisibilityExternalIP, v1alpha1.IngressVisibilityClusterLocal
	g.serveOn(ctx, group, &front{g: g, visibility: external}, g.options.External)
	g.serveOn(ctx, group, &front{g: g, visibility: external, secure: true}, g.options.ExternalTLS)
	g.serveOn(ctx, group, &front{g: g, visibility: internal}, g.options.Internal)
}

func (g *Gateway) serveOn(ctx context.Context, group *errgroup.Group, f *front, listeners []net.Listener) {
	if len(listeners) == 0 {
		return
	}
	// Tunnels of hijacked connections end with this context, which Shutdown
	// does not know of.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	server := g.newServer(f, base)
	places := make(chan struct{}, maxConnections)
	for _, l := range listeners {
		group.Go(func() error {
			if err := serveOne(server, newLimitListener(l, places), f.secure); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("gateway: serve on %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer done()
		if server.Shutdown(grace) != nil {
			_ = server.Close() // long streams do not end by themselves
		}
		cancel()
		return nil
	})
}

func serveOne(server *http.Server, l net.Listener, secure bool) error {
	if secure {
		return server.ServeTLS(l, "", "")
	}
	return server.Serve(l)
}

func (g *Gateway) newServer(f *front, base context.Context) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(f.secure)
	protocols.SetUnencryptedHTTP2(!f.secure)
	server := &http.Server{
		Handler:           f,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withConnection,
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: clientPingAfter, PingTimeout: pingTimeout},
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       clientIdleTimeout,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		// OPTIONS * is for the pods to answer.
		DisableGeneralOptionsHandler: true,
	}
	if f.secure {
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: g.certificateFor}
	}
	return server
}

// certificateFor picks the certificate by server name from the present table,
// so that a changed secret counts from the next handshake on.
func (g *Gateway) certificateFor(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if t := g.table.Load(); t != nil {
		if cert := t.certs[hostname(hello.ServerName)]; cert != nil {
			return cert, nil
		}
	}
	return nil, fmt.Errorf("gateway: no certificate for server name %q", hello.ServerName)
}
