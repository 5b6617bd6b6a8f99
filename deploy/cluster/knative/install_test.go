package knative

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
)

// answers is an API server that answers each request with the next status and
// reason, and with success after the last.
func answers(t *testing.T, list ...string) (*installer, *atomic.Int32) {
	t.Helper()
	var calls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		n := int(calls.Add(1)) - 1
		if n >= len(list) {
			_, _ = fmt.Fprint(w, configMap2)
			return
		}
		var code int
		var reason string
		if _, err := fmt.Sscan(list[n], &code, &reason); err != nil {
			t.Error(err)
		}
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "because",
		})
	}))
	t.Cleanup(srv.Close)
	in, err := newInstaller(&rest.Config{Host: srv.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return in, &calls
}

const configMap2 = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"n"}}`

func TestApplyTriesAgainWhatPasses(t *testing.T) {
	for reason, in := range map[string]struct {
		answers []string
		calls   int32
		err     string
	}{
		"at once":                  {nil, 1, ""},
		"webhook without pods":     {[]string{"500 InternalError", "500 InternalError"}, 3, ""},
		"server starts":            {[]string{"503 ServiceUnavailable"}, 2, ""},
		"kind is not served yet":   {[]string{"404 NotFound"}, 2, ""},
		"written meanwhile":        {[]string{"409 Conflict"}, 2, ""},
		"webhook refuses":          {[]string{"400 BadRequest"}, 1, "ConfigMap n/a: because"},
		"object is not valid":      {[]string{"422 Invalid"}, 1, "because"},
		"caller may not":           {[]string{"403 Forbidden"}, 1, "because"},
		"passes, and then refuses": {[]string{"500 InternalError", "422 Invalid"}, 2, "because"},
	} {
		t.Run(reason, func(t *testing.T) {
			installer, calls := answers(t, in.answers...)
			o := object(t, configMap2)
			err := installer.applyOne(t.Context(), &o)
			if in.err == "" && err != nil || in.err != "" && (err == nil || !strings.Contains(err.Error(), in.err)) {
				t.Errorf("error %v, want %q", err, in.err)
			}
			if calls.Load() != in.calls {
				t.Errorf("%d calls, want %d", calls.Load(), in.calls)
			}
		})
	}
}

func TestApplyEndsWithItsContextAndSaysWhy(t *testing.T) {
	installer, _ := answers(t, strings.Split(strings.Repeat("500 InternalError,", 100), ",")...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	o := object(t, configMap2)
	if err := installer.applyOne(ctx, &o); err == nil || !strings.Contains(err.Error(), "because") {
		t.Errorf("error %v", err)
	}
}

func TestJudges(t *testing.T) {
	for reason, in := range map[string]struct {
		judge judge
		doc   string
		ok    bool
		why   string
	}{
		"new deployment":     {deploymentAvailable, "{metadata: {generation: 1}, spec: {replicas: 1}}", false, "0 of 1 pods available"},
		"not observed yet":   {deploymentAvailable, "{metadata: {generation: 2}, status: {observedGeneration: 1, updatedReplicas: 1, availableReplicas: 1}}", false, "1 of 1 pods available"},
		"old pods only":      {deploymentAvailable, "{metadata: {generation: 2}, status: {observedGeneration: 2, availableReplicas: 1}}", false, "1 of 1 pods available"},
		"available":          {deploymentAvailable, "{metadata: {generation: 2}, status: {observedGeneration: 2, updatedReplicas: 1, availableReplicas: 1}}", true, ""},
		"none wanted":        {deploymentAvailable, "{metadata: {generation: 1}, spec: {replicas: 0}, status: {observedGeneration: 1}}", true, ""},
		"quota":              {deploymentAvailable, "{status: {conditions: [{type: ReplicaFailure, status: 'True', message: no quota}]}}", false, "no quota"},
		"stuck":              {deploymentAvailable, "{status: {conditions: [{type: Progressing, status: 'False', message: timed out}]}}", false, "timed out"},
		"set starts":         {statefulSetAvailable, "{metadata: {generation: 1}}", false, "0 of 1 pods available"},
		"set available":      {statefulSetAvailable, "{metadata: {generation: 1}, status: {observedGeneration: 1, updatedReplicas: 1, availableReplicas: 1}}", true, ""},
		"new definition":     {established, "{}", false, "not accepted yet"},
		"established":        {established, "{status: {conditions: [{type: Established, status: 'True'}]}}", true, ""},
		"names are taken":    {established, "{status: {conditions: [{type: NamesAccepted, status: 'False', message: taken}]}}", false, "taken"},
		"not yet served":     {established, "{status: {conditions: [{type: Established, status: 'False'}]}}", false, "not accepted yet"},
		"unreadable replica": {deploymentAvailable, "{spec: {replicas: many}}", false, ""},
	} {
		o := object(t, in.doc)
		ok, why := in.judge(&o)
		if ok != in.ok || in.why != "" && why != in.why {
			t.Errorf("%s: %v %q, want %v %q", reason, ok, why, in.ok, in.why)
		}
	}
}

func TestPluralsAreThoseOfTheServer(t *testing.T) {
	got := map[string]string{}
	for kind := range stageOf {
		got[kind] = resourceOf((&unstructured.Unstructured{Object: map[string]any{"kind": kind}}).GroupVersionKind()).Resource
	}
	want := map[string]string{
		"Namespace": "namespaces", "CustomResourceDefinition": "customresourcedefinitions", "ServiceAccount": "serviceaccounts",
		"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles", "RoleBinding": "rolebindings",
		"ConfigMap": "configmaps", "Secret": "secrets", "Service": "services", "Deployment": "deployments", "StatefulSet": "statefulsets",
		"MutatingWebhookConfiguration": "mutatingwebhookconfigurations", "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
		"Certificate": "certificates", "Image": "images",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
