package cmdlinetest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// scripted answers a request to the extension API with the file
// answers/METHOD-NAME of the script, or, the n-th time, answers/METHOD-NAME-n
// when there is one. NAME is the last part of the path.
func (s *server) scripted(w http.ResponseWriter, r *http.Request) bool {
	file := r.Method + "-" + filepath.Base(r.URL.Path)
	s.asked[file]++
	raw, err := os.ReadFile(filepath.Join(s.answers, fmt.Sprintf("%s-%d", file, s.asked[file])))
	if err != nil {
		raw, err = os.ReadFile(filepath.Join(s.answers, file))
	}
	if err != nil {
		return false
	}
	_, _ = w.Write(raw)
	return true
}
