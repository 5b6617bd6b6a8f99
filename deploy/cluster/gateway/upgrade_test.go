package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	ping "knative.dev/networking/test/test_images/grpc-ping/proto"
)

// echoSocket sends every message back.
func echoSocket(rw http.ResponseWriter, r *http.Request) {
	conn, err := new(websocket.Upgrader).Upgrade(rw, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, append([]byte("echo "), message...)) != nil {
			return
		}
	}
}

func (w *world) dialSocket(host string) *websocket.Conn {
	w.Helper()
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, w.http)
	}}
	conn, res, err := dialer.DialContext(w.Context(), "ws://"+host+"/", nil)
	if err != nil {
		w.Fatalf("%v (%v)", err, res)
	}
	return conn
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("one", "http", http.HandlerFunc(echoSocket))
	w.backend("two", "http2", http.HandlerFunc(echoSocket))
	w.serve(ingressFor("ws", rule(external, "one.test", pathTo("one")), rule(external, "two.test", pathTo("two"))))
	for _, host := range []string{"one.test", "two.test"} {
		conn := w.dialSocket(host)
		for i := range 50 {
			message := fmt.Sprintf("%d %s", i, strings.Repeat("x", i*100))
			if err := conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := conn.ReadMessage(); err != nil || string(got) != "echo "+message {
				t.Fatalf("%s: got %q, %v", host, got, err)
			}
		}
		_ = conn.Close()
	}
	w.eventually("both tunnels are over", func() bool { return w.gateway.inflight.Load() == 0 })
}

func TestStopEndsTunnels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("ws", "http", http.HandlerFunc(echoSocket))
	w.serve(ingressFor("ws", rule(external, "ws.test", pathTo("ws"))))
	conn := w.dialSocket("ws.test")
	defer conn.Close()
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _, err := conn.ReadMessage()
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the tunnel is still open: %v", err)
	}
}

// An offer to continue in h2c must not become a tunnel past the routing table.
func TestH2CUpgradeIsNotPassedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("x", "http", shows("Upgrade", "Connection", "Http2-Settings"))
	w.serve(ingressFor("x", rule(external, "x.test", pathTo("x"))))
	code, body, _ := w.get(w.http, "http://x.test",
		"Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAMAAABkAAQAAP__")
	if code != http.StatusOK || body != "Upgrade=[] Connection=[] Http2-Settings=[]" {
		t.Errorf("got %d %s", code, body)
	}
}

// pinger is the service that the conformance suite uses too.
type pinger struct {
	ping.UnimplementedPingServiceServer
}

func (pinger) Ping(ctx context.Context, req *ping.Request) (*ping.Response, error) {
	if err := grpc.SetTrailer(ctx, metadata.Pairs("sum", "42")); err != nil {
		return nil, err
	}
	if req.GetMsg() == "fail" {
		return nil, status.Error(codes.ResourceExhausted, "as asked")
	}
	return &ping.Response{Msg: req.GetMsg() + " pong"}, nil
}

func (pinger) PingStream(stream ping.PingService_PingStreamServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if req.GetMsg() == "stop" {
			return status.Error(codes.Aborted, "stopped by the server")
		}
		if err := stream.Send(&ping.Response{Msg: req.GetMsg() + " pong"}); err != nil {
			return err
		}
	}
}

func (w *world) grpc() ping.PingServiceClient {
	w.Helper()
	server := grpc.NewServer()
	ping.RegisterPingServiceServer(server, pinger{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	w.Cleanup(server.Stop)
	w.service("ping", "http2")
	w.endpoints("ping", "http2", l.Addr().String())
	w.serve(ingressFor("ping", rule(external, "ping.test", pathTo("ping"))))
	conn, err := grpc.NewClient("passthrough:///ping.test:80", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.http)
		}))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Close() })
	return ping.NewPingServiceClient(conn)
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pinger := w.grpc()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	var trailer metadata.MD
	res, err := pinger.Ping(ctx, &ping.Request{Msg: "ping"}, grpc.Trailer(&trailer))
	if err != nil || res.GetMsg() != "ping pong" || strings.Join(trailer.Get("sum"), "") != "42" {
		t.Errorf("unary: %v, %v, trailer %v", res, err, trailer)
	}
	if _, err = pinger.Ping(ctx, &ping.Request{Msg: "fail"}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a status without a message: %v", err)
	}

	stream, err := pinger.PingStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		message := fmt.Sprint("ping ", i)
		if err := stream.Send(&ping.Request{Msg: message}); err != nil {
			t.Fatal(err)
		}
		if res, err := stream.Recv(); err != nil || res.GetMsg() != message+" pong" {
			t.Fatalf("message %d: %v, %v", i, res, err)
		}
	}
	// The server ends the stream while the client's side is still open.
	if err := stream.Send(&ping.Request{Msg: "stop"}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the end of the stream: %v", err)
	}
	w.eventually("the stream is over in the gateway", func() bool { return w.gateway.inflight.Load() == 0 })
}

func TestGRPCClientThatLeavesEndsTheStreamInThePod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pinger := w.grpc()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stream, err := pinger.PingStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&ping.Request{Msg: "hello"}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	w.eventually("the stream is over in the gateway", func() bool { return w.gateway.inflight.Load() == 0 })
}

func TestGRPCWithoutRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pinger := w.grpc()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	w.gateway.inflight.Store(maxRequests)
	if _, err := pinger.Ping(ctx, &ping.Request{}); status.Code(err) != codes.Unavailable {
		t.Errorf("503 is told as %v", err)
	}
	w.gateway.inflight.Store(0)
}
