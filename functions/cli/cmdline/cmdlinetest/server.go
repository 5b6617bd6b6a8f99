package cmdlinetest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/invocation"
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

// service is the extension API: archives must have the digest they claim.
func (s *server) service(w http.ResponseWriter, r *http.Request) {
	name := filepath.Base(r.URL.Path)
	switch {
	case s.refuses(w, r), s.scripted(w, r):
	case strings.HasSuffix(r.URL.Path, "/invoke"):
		s.invoke(w, r)
	case strings.HasSuffix(r.URL.Path, "/events"):
		s.takeEvent(w, r)
	case strings.HasSuffix(r.URL.Path, "/sbom"):
		s.serveLog(w, "sbom-"+filepath.Base(strings.TrimSuffix(r.URL.Path, "/sbom"))+".log")
	case strings.HasSuffix(r.URL.Path, "/log") && strings.Contains(r.URL.Path, "/functions/"):
		s.serveEnded(w, filepath.Base(filepath.Dir(r.URL.Path)))
	case strings.HasSuffix(r.URL.Path, "/log"):
		s.serveLog(w, "build-"+filepath.Base(strings.TrimSuffix(r.URL.Path, "/log"))+".log")
	case r.Method == http.MethodGet && !s.sources[r.URL.Path]:
		missing := apierrors.NewNotFound(schema.GroupResource{Group: "service.knit.dev", Resource: "sources"}, name)
		missing.ErrStatus.Details = offset(len(s.parts[r.URL.Path]))
		fail(w, missing)
	case r.Method == http.MethodPut:
		s.upload(w, r, name)
	}
}

// upload takes an archive, whole or in parts, which must come in their order.
func (s *server) upload(w http.ResponseWriter, r *http.Request, name string) {
	came := s.parts[r.URL.Path]
	if place := r.Header.Get("Content-Range"); place != "" {
		fmt.Fprintf(s.requests, "  %s\n", place)
		if !strings.HasPrefix(place, fmt.Sprintf("bytes %d-", len(came))) {
			conflict := apierrors.NewConflict(schema.GroupResource{Resource: "sources"}, name, errors.New("another place"))
			conflict.ErrStatus.Details = offset(len(came))
			fail(w, conflict)
			return
		}
		part, err := io.ReadAll(r.Body)
		sum := sha256.Sum256(part)
		if err != nil || r.Header.Get("Content-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
			fail(w, apierrors.NewBadRequest("the part is not what its digest says"))
			return
		}
		came = append(came, part...)
		if s.parts[r.URL.Path] = came; !strings.HasSuffix(place, fmt.Sprintf("/%d", len(came))) {
			w.WriteHeader(http.StatusAccepted)
			return
		}
	} else {
		came, _ = io.ReadAll(r.Body)
	}
	sum := sha256.Sum256(came)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != name {
		fail(w, apierrors.NewBadRequest(fmt.Sprintf("digest %s, want %s", got, name)))
		return
	}
	s.sources[r.URL.Path] = true
	w.WriteHeader(http.StatusCreated)
}

// offset are the details of an error that say how much of an archive came.
func offset(n int) *metav1.StatusDetails {
	if n == 0 {
		return nil
	}
	return &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: archive.CauseOffset, Message: strconv.Itoa(n)}}}
}

// invoke calls the function that tells what it was sent. One named "forbidden" may
// not be called.
func (s *server) invoke(w http.ResponseWriter, r *http.Request) {
	name := filepath.Base(filepath.Dir(r.URL.Path))
	if name == "forbidden" {
		fail(w, apierrors.NewForbidden(schema.GroupResource{Group: "service.knit.dev", Resource: "functions/invoke"}, name, errors.New("no")))
		return
	}
	query := r.URL.Query()
	inner := httptest.NewRequestWithContext(r.Context(), query.Get(invocation.QueryMethod), query.Get(invocation.QueryPath), r.Body)
	inner.Host, inner.Header = name+".inside", invocation.Unwrap(r.Header)
	answer := httptest.NewRecorder()
	echo().ServeHTTP(answer, inner)
	invocation.Wrap(w.Header(), answer.Header())
	w.Header().Set(invocation.HeaderStatus, strconv.Itoa(answer.Code))
	_, _ = w.Write(answer.Body.Bytes())
}

// serveEnded answers what replicas of a function that are gone wrote.
func (s *server) serveEnded(w http.ResponseWriter, function string) {
	raw, err := os.ReadFile(filepath.Join(s.logs, "ended-"+function+".log"))
	if err == nil {
		_, _ = w.Write(raw)
	}
}

func (s *server) serveLog(w http.ResponseWriter, file string) {
	raw, err := os.ReadFile(filepath.Join(s.logs, file))
	if err != nil {
		fail(w, apierrors.NewNotFound(schema.GroupResource{Resource: "logs"}, file))
		return
	}
	_, _ = w.Write(raw)
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

// kubernetes serves objects: read, list, create, patch, apply, delete.
func (s *server) kubernetes(w http.ResponseWriter, r *http.Request) {
	if s.refuses(w, r) {
		return
	}
	object, found := s.objects[r.URL.Path]
	_, name := filepath.Split(r.URL.Path)
	switch {
	case r.Method == http.MethodPost:
		s.create(w, r)
	case r.Method == http.MethodPatch:
		s.apply(w, r)
	case found && r.Method == http.MethodGet:
		s.advance(object)
		answer(w, observed(object))
	case found && r.Method == http.MethodDelete:
		delete(s.objects, r.URL.Path)
		answer(w, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess})
	case r.Method == http.MethodGet && namesList(r.URL.Path) && r.URL.Query().Get("watch") != "":
		s.watch(w, r)
	case r.Method == http.MethodGet && namesList(r.URL.Path):
		s.list(w, r)
	default:
		fail(w, apierrors.NewNotFound(schema.GroupResource{Group: filepath.Dir(apiVersion(r.URL.Path)), Resource: filepath.Base(filepath.Dir(r.URL.Path))}, name))
	}
}

// watch tells of every change that an object changed, whichever it was.
func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	seen := s.changes
	s.mu.Unlock()
	defer s.mu.Lock()
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).Flush()
	for r.Context().Err() == nil {
		s.mu.Lock()
		changed := s.changes != seen
		seen = s.changes
		s.mu.Unlock()
		if changed {
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "BOOKMARK", "object": map[string]any{
				"apiVersion": apiVersion(r.URL.Path), "kind": "Function", "metadata": map[string]any{"resourceVersion": "2"},
			}})
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// compound are the kinds of resources whose names are of several words.
var compound = map[string]string{"inmemorychannels": "InMemoryChannel", "customresourcedefinitions": "CustomResourceDefinition"}

// list returns the objects of a path, of one namespace or of all. The kind of
// an empty list is guessed from the resource.
func (s *server) list(w http.ResponseWriter, r *http.Request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	items, resource := []any{}, filepath.Base(r.URL.Path)
	kind := cmp.Or(compound[resource], strings.ToUpper(resource[:1])+strings.TrimSuffix(resource[1:], "s")) + "List"
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		object := s.objects[path]
		everywhere := strings.Replace(filepath.Dir(path), "/namespaces/"+object.GetNamespace(), "", 1)
		if (filepath.Dir(path) == r.URL.Path || everywhere == r.URL.Path) && selector.Matches(labels.Set(object.GetLabels())) {
			items, kind = append(items, object.Object), object.GetKind()+"List"
		}
	}
	answer(w, map[string]any{"kind": kind, "apiVersion": apiVersion(r.URL.Path), "metadata": map[string]any{"resourceVersion": "1"}, "items": items})
}

// apiVersion reads group and version from a path.
func apiVersion(path string) string {
	parts := strings.Split(path, "/")
	if parts[1] == "api" {
		return parts[2]
	}
	return parts[2] + "/" + parts[3]
}

// namesList tells a list from an object: after group and version, resources
// and names alternate.
func namesList(path string) bool {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, "/api/"), "/apis/")
	rest = strings.TrimPrefix(rest, apiVersion(path)+"/")
	return strings.Count(rest, "/")%2 == 0
}

// apply stores an object whole, or what a merge patch makes of it, or, as another
// field owner than the command line's usual one, adds its annotations; those
// stay then. A changed spec is a new generation.
func (s *server) apply(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	if old := s.objects[r.URL.Path]; old != nil && r.Header.Get("Content-Type") == string(types.MergePatchType) {
		// What a merge patch leaves out stays.
		fmt.Fprintf(s.requests, "  %s\n", raw)
		whole, _ := json.Marshal(old.Object)
		raw, _ = jsonpatch.MergePatch(whole, raw)
	}
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &object.Object); err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	generation := int64(1)
	if old := s.objects[r.URL.Path]; old != nil {
		annotations := old.GetAnnotations()
		if len(annotations) == 0 {
			annotations = object.GetAnnotations()
		}
		maps.Copy(annotations, object.GetAnnotations())
		if object.Object["spec"] == nil && old.Object["spec"] != nil {
			object = old.DeepCopy()
		}
		object.SetAnnotations(annotations)
		generation = old.GetGeneration()
		object.Object["status"] = old.Object["status"]
		before, _ := json.Marshal(old.Object["spec"])
		after, _ := json.Marshal(object.Object["spec"])
		if !bytes.Equal(before, after) {
			generation++
		}
	}
	object.SetGeneration(generation)
	object.SetUID("00000000-0000-0000-0000-000000000001")
	object.SetResourceVersion(strconv.FormatInt(generation, 10))
	if r.URL.Query().Get("dryRun") == "" {
		s.objects[r.URL.Path] = object
		s.changes++
	}
	answer(w, object)
}

// create stores a new object, unless one of its name is there or it is only a
// try. A generated name ends with a number from 1.
func (s *server) create(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &object.Object); err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	for n := 1; object.GetName() == ""; n++ {
		if name := object.GetGenerateName() + strconv.Itoa(n); s.objects[r.URL.Path+"/"+name] == nil {
			object.SetName(name)
		}
	}
	path := r.URL.Path + "/" + object.GetName()
	if s.objects[path] != nil {
		fail(w, apierrors.NewAlreadyExists(schema.GroupResource{Group: filepath.Dir(apiVersion(path)), Resource: filepath.Base(r.URL.Path)}, object.GetName()))
		return
	}
	object.SetGeneration(1)
	object.SetResourceVersion("1")
	object.SetUID(types.UID("uid-" + object.GetName()))
	fmt.Fprintf(s.requests, "  %s\n", raw)
	if r.URL.Query().Get("dryRun") == "" {
		s.objects[path] = object
		s.changes++
	}
	answer(w, object)
}

// advance gives an object its next recorded status; the last one stays.
func (s *server) advance(object *unstructured.Unstructured) {
	key := strings.ToLower(object.GetKind()) + "-" + object.GetName()
	if waiting := s.statuses[key]; len(waiting) > 0 {
		object.Object["status"], s.statuses[key] = waiting[0], waiting[1:]
	}
}

// observed is an object whose conditions are about its present generation where
// the script says observedGeneration: 0.
func observed(object *unstructured.Unstructured) *unstructured.Unstructured {
	object = object.DeepCopy()
	conditions, found, err := unstructured.NestedSlice(object.Object, "status", "conditions")
	if !found || err != nil {
		return object
	}
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && fmt.Sprint(c["observedGeneration"]) == "0" {
			c["observedGeneration"] = object.GetGeneration()
		}
	}
	_ = unstructured.SetNestedSlice(object.Object, conditions, "status", "conditions")
	return object
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
