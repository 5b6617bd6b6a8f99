package python_test

import (
	"strings"
	"testing"

	"golang.org/x/net/websocket"
)

const sockets = `
import h11

async def handle(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": h11.whose.encode()})
        return
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0] if scope["subprotocols"] else None})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print("disconnected", message["code"])
            return
        if message.get("text") == "raise":
            raise ValueError("on a socket")
        if message.get("text") == "return":
            return
        await send({"type": "websocket.send", **({"text": message["text"].upper()} if "text" in message else {"bytes": message["bytes"][::-1]})})
`

// TestWebSockets pass to ASGI functions, beside a package of the function's own
// that has the name of one of the runtime's.
func TestWebSockets(t *testing.T) {
	p := start(t, map[string]string{"func.py": sockets, "h11.py": "whose = 'mine'\n"}, "KNIT_MAX_BODY_BYTES=1000", "KNIT_TIMEOUT=1s")
	dial := func(t *testing.T, path string) *websocket.Conn {
		t.Helper()
		conn, err := websocket.Dial(strings.Replace(p.URL, "http", "ws", 1)+path, "", p.URL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	t.Run("text and bytes", func(t *testing.T) {
		conn := dial(t, "/")
		for _, word := range []string{"ä", strings.Repeat("b", 900)} {
			var got string
			if err := websocket.Message.Send(conn, word); err != nil {
				t.Fatal(err)
			}
			if err := websocket.Message.Receive(conn, &got); err != nil || got != strings.ToUpper(word) {
				t.Errorf("got %q (%v)", got, err)
			}
		}
		var got []byte
		if err := websocket.Message.Send(conn, []byte{1, 2}); err != nil {
			t.Fatal(err)
		}
		if err := websocket.Message.Receive(conn, &got); err != nil || string(got) != "\x02\x01" {
			t.Errorf("got %q (%v)", got, err)
		}
	})
	for name, message := range map[string]string{"a function that raises": "raise", "a function that returns": "return", "a message over the limit": strings.Repeat("x", 1001)} {
		t.Run(name+" ends the connection", func(t *testing.T) {
			conn := dial(t, "/")
			if err := websocket.Message.Send(conn, message); err != nil {
				t.Fatal(err)
			}
			var got string
			if err := websocket.Message.Receive(conn, &got); err == nil {
				t.Errorf("got %q", got)
			}
		})
	}
	t.Run("a function may refuse", func(t *testing.T) {
		if _, err := websocket.Dial(strings.Replace(p.URL, "http", "ws", 1)+"/refused", "", p.URL); err == nil {
			t.Error("the refused connection was made")
		}
	})
	t.Run("HTTP goes on", func(t *testing.T) {
		if status, body := p.Get("/"); status != 200 || body != "mine" {
			t.Errorf("got %d %q", status, body)
		}
	})
	dial(t, "/") // is open while the process drains
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.Log())
	}
	for _, want := range []string{`"panic": "ValueError: on a socket"`, "disconnected 1009", "disconnected 1001"} {
		if !strings.Contains(p.Log(), want) {
			t.Errorf("the log lacks %s:\n%s", want, p.Log())
		}
	}
}
