package cmdlinetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

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
