// Package function answers HTTP requests.
package function

import (
	"fmt"
	"net/http"
)

// Handle is called for every request. It may answer in any way that an
// http.Handler may.
func Handle(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if name == "" {
		name = "world"
	}
	fmt.Fprintf(w, "Hello, %s!\n", name)
}
