package cmdlinetest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knit-dev/knit/functions/api/emission"
)

// takeEvent takes an event for a Broker or a Channel of the script. One named
// "forbidden" is not for the caller; one named "refusing", and every one that gets
// an event with the id "bad", answers 400.
func (s *server) takeEvent(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(s.requests, "  %s\n", body)
	object := filepath.Dir(r.URL.Path)
	name, resource := filepath.Base(object), filepath.Base(filepath.Dir(object))
	if name == "forbidden" {
		fail(w, apierrors.NewForbidden(schema.GroupResource{Group: "service.knit.dev", Resource: resource + "/events"}, name, errors.New("no")))
		return
	}
	group := map[string]string{emission.Brokers: "eventing.knative.dev", emission.Channels: "messaging.knative.dev"}[resource]
	held, found := s.objects[strings.Replace(object, "service.knit.dev/v1alpha1", group+"/v1", 1)]
	if !found {
		fail(w, apierrors.NewNotFound(schema.GroupResource{Group: group, Resource: resource}, name))
		return
	}
	if address, _, _ := unstructured.NestedString(held.Object, "status", "address", "url"); address == "" {
		fail(w, apierrors.NewServiceUnavailable(fmt.Sprintf("%s %s/%s has no address yet", strings.TrimSuffix(resource, "s"), held.GetNamespace(), name)))
		return
	}
	status := http.StatusAccepted
	if name == "refusing" || strings.Contains(string(body), `"id":"bad"`) {
		status = http.StatusBadRequest
	}
	answer(w, emission.Answer{Status: status})
}
