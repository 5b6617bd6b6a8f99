package function

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHandleGreetsByName(t *testing.T) {
	w := httptest.NewRecorder()
	Handle(w, httptest.NewRequest(http.MethodGet, "/?name=Ada", nil))
	if got := w.Body.String(); got != "Hello, Ada!\n" {
		t.Errorf("got %q", got)
	}
}
