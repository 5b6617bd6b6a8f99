package cmdlinetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// server is a recorded API server: it keeps objects as a real one does, and
// their status becomes what the script says.
type server struct {
	mu       sync.Mutex
	objects  map[string]*unstructured.Unstructured // by path
	statuses map[string][]map[string]any           // by kind-name, in the order of reads
	sources  map[string]bool                       // archives that were uploaded, by path
	parts    map[string][]byte                     // what came of archives, by path
	logs     string                                // folder of logs
	hold     string                                // folder with a file for each path that never answers
	refused  string                                // folder with a file for each resource that is refused
	answers  string                                // folder of answers of the extension API
	asked    map[string]int                        // how often each of them was asked for
	requests *os.File
	changes  int // how often an object was written
}

func newServer(dir string, env func(string) string) (*server, error) {
	requests, err := os.Create(filepath.Join(dir, "requests"))
	if err != nil {
		return nil, err
	}
	s := &server{
		objects: map[string]*unstructured.Unstructured{}, statuses: map[string][]map[string]any{},
		sources: map[string]bool{}, parts: map[string][]byte{}, logs: filepath.Join(dir, "logs"), hold: filepath.Join(dir, "hold"),
		refused: filepath.Join(dir, "refused"), requests: requests,
		answers: filepath.Join(dir, "answers"), asked: map[string]int{},
	}
	return s, errors.Join(s.load(filepath.Join(dir, "cluster"), env), s.loadStatuses(filepath.Join(dir, "status"), env))
}

func (s *server) load(dir string, env func(string) string) error {
	return documents(dir, env, func(_ string, content map[string]any) {
		object := &unstructured.Unstructured{Object: content}
		object.SetResourceVersion("1")
		if object.GetGeneration() == 0 {
			object.SetGeneration(1)
		}
		s.objects[pathOf(object)] = object
	})
}

func (s *server) loadStatuses(dir string, env func(string) string) error {
	return documents(dir, env, func(file string, content map[string]any) {
		key := strings.TrimSuffix(file, ".yaml")
		s.statuses[key] = append(s.statuses[key], content)
	})
}

// documents reads all YAML documents of a folder, which may be absent.
func documents(dir string, env func(string) string, each func(file string, content map[string]any)) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(os.Expand(string(raw), env)), 4096)
		for {
			// By way of JSON whole numbers stay what they are, as objects need them.
			var content map[string]any
			var document json.RawMessage
			if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
				break
			} else if err = errors.Join(err, utiljson.Unmarshal(document, &content)); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if content != nil {
				each(filepath.Base(file), content)
			}
		}
	}
	return nil
}

func pathOf(object *unstructured.Unstructured) string {
	kind := object.GroupVersionKind()
	resource, _ := meta.UnsafeGuessKindToResource(kind)
	base := "/apis/" + kind.GroupVersion().String()
	if kind.Group == "" {
		base = "/api/" + kind.Version
	}
	if object.GetNamespace() != "" {
		base += "/namespaces/" + object.GetNamespace()
	}
	return base + "/" + resource.Resource + "/" + object.GetName()
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.requests, "%s %s\n", r.Method, r.URL.RequestURI())
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if strings.HasPrefix(name, "Ce-") {
			fmt.Fprintf(s.requests, "  %s: %s\n", name, r.Header.Get(name))
		}
	}
	if s.held(r) {
		return
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer secret-token":
		fail(w, apierrors.NewUnauthorized("no token"))
	case strings.HasPrefix(r.URL.Path, "/apis/service.knit.dev/"):
		s.service(w, r)
	case strings.HasSuffix(r.URL.Path, "/log"):
		s.serveLog(w, filepath.Base(strings.TrimSuffix(r.URL.Path, "/log"))+".log")
	case strings.Contains(r.URL.Path, "/proxy/"):
		w.WriteHeader(http.StatusAccepted)
	default:
		s.kubernetes(w, r)
	}
}

// held keeps a request waiting until its caller gives up, when the script has a
// file hold/METHOD-NAME for it; for applied objects hold/APPLY-NAME.
func (s *server) held(r *http.Request) bool {
	method := r.Method
	if method == http.MethodPatch && r.URL.Query().Get("dryRun") == "" {
		method = "APPLY"
	}
	name := filepath.Base(r.URL.Path)
	if digest, ok := strings.CutPrefix(name, "sha256:"); ok && digest != "" {
		name = "source"
	}
	if place, _, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Content-Range"), "bytes "), "-"); ok {
		name += "-" + place
	}
	if _, err := os.Stat(filepath.Join(s.hold, method+"-"+name)); err != nil {
		return false
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	_, _ = io.Copy(io.Discard, r.Body) // Only then does net/http see that the caller is gone.
	<-r.Context().Done()
	return true
}

// refuses answers for a resource that the script has a file refused/RESOURCE for:
// one that says "absent" is unknown to the server, another is not for the caller.
func (s *server) refuses(w http.ResponseWriter, r *http.Request) bool {
	resource := filepath.Base(r.URL.Path)
	if !namesList(r.URL.Path) {
		resource = filepath.Base(filepath.Dir(r.URL.Path))
	}
	raw, err := os.ReadFile(filepath.Join(s.refused, resource))
	if err != nil {
		return false
	}
	kind := schema.GroupResource{Group: filepath.Dir(apiVersion(r.URL.Path)), Resource: resource}
	if strings.TrimSpace(string(raw)) == "absent" {
		http.NotFound(w, r)
		return true
	}
	fail(w, apierrors.NewForbidden(kind, "", errors.New("not allowed")))
	return true
}

func fail(w http.ResponseWriter, err *apierrors.StatusError) {
	status := err.Status()
	status.Kind, status.APIVersion = "Status", "v1"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status)
}

func answer(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(document)
}

// echo is a function that tells what it was sent; /fail answers 500.
func echo() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Function", "echo")
		if r.URL.Path == "/fail" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s host=%s type=%s ce-type=%s ce-source=%s ce-x=%s body=%s",
			r.Method, r.URL.RequestURI(), r.Host, r.Header.Get("Content-Type"),
			r.Header.Get("Ce-Type"), r.Header.Get("Ce-Source"), r.Header.Get("X-Extra"), body)
	})
}

func splitHostPort(address string) (host, port string, err error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return "", "", err
	}
	return net.SplitHostPort(parsed.Host)
}

func exitCode(err error) string {
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		return strconv.Itoa(exited.ExitCode())
	}
	return err.Error()
}
