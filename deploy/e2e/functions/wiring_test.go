//go:build e2e

package functions

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// received is what a probe remembers of an event.
type received struct{ ID, Type, Source, Data string }

// receiver is a probe that stays, so that it can be asked what came, with the
// events of a YAML text.
func (s *stage) receiver(name, events string, env ...string) *v1alpha1.Function {
	s.t.Helper()
	fn := s.function(name)
	one := int32(1)
	fn.Spec.Scale = v1alpha1.Scale{Min: &one, Max: &one}
	for _, e := range env {
		key, value, _ := strings.Cut(e, "=")
		fn.Spec.Env = append(fn.Spec.Env, corev1.EnvVar{Name: key, Value: value})
	}
	if err := yaml.UnmarshalStrict([]byte(events), &fn.Spec.Events); err != nil {
		s.t.Fatal(err)
	}
	return fn
}

// received asks a receiver through the gateway.
func (s *stage) received(name string) []received {
	s.t.Helper()
	answer, err := askPath(s.t.Context(), s.read(name).Status.URL, "/events")
	if err != nil {
		return nil
	}
	var events []received
	if err := json.Unmarshal([]byte(answer), &events); err != nil {
		s.t.Fatalf("%s answers %q: %v", name, answer, err)
	}
	return events
}

// counts is how often events of each id came, without those that only find out
// whether a path is open.
func (s *stage) counts(name string) map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	for _, e := range s.received(name) {
		if !strings.HasPrefix(e.ID, "open-") {
			counts[e.ID]++
		}
	}
	return counts
}

// gets waits until an event of the type has come, and returns it.
func (s *stage) gets(name, kind string) (got received) {
	s.t.Helper()
	s.within(3*time.Minute, name+" gets an event of type "+kind, func() (bool, string) {
		events := s.received(name)
		i := slices.IndexFunc(events, func(e received) bool { return e.Type == kind })
		if i >= 0 {
			got = events[i]
		}
		return i >= 0, fmt.Sprint(events, s.read(name).Status.Conditions)
	})
	return got
}

func (s *stage) send(id, kind string, args ...string) {
	s.t.Helper()
	if code, _, errs := s.knit(append([]string{"event", "send", "--id", id, "--type", kind}, args...)...); code != 0 {
		s.t.Fatalf("send %s: %s", id, errs)
	}
}

// open sends events of a type until one arrives: a channel in memory says Ready a
// moment before it delivers, and keeps nothing of what comes in between.
func (s *stage) open(name, kind string, args ...string) {
	s.t.Helper()
	n := 0
	s.within(2*time.Minute, "the way to "+name+" is open", func() (bool, string) {
		n++
		s.send(fmt.Sprintf("open-%d", n), kind, args...)
		arrived := slices.ContainsFunc(s.received(name), func(e received) bool { return e.Type == kind })
		return arrived, fmt.Sprint(s.read(name).Status.Conditions)
	})
}

func (s *stage) channel(name string) *messagingv1.Channel {
	return &messagingv1.Channel{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// TestEveryFilterDialectOnACluster sends one event that a filter lets pass and
// one that it does not, for each dialect of Knative's filters.
func TestEveryFilterDialectOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.broker("default")
	dialects := []struct{ filter, passes, stays string }{
		{`{exact: {type: exact.yes}}`, "exact.yes", "exact.yes.no"},
		{`{prefix: {type: prefix.}}`, "prefix.yes", "prefix"},
		{`{suffix: {type: .suffix}}`, "yes.suffix", "yes.suffix.no"},
		{`{all: [{prefix: {type: all.}}, {suffix: {type: .yes}}]}`, "all.yes", "all.no"},
		{`{any: [{exact: {type: any.a}}, {exact: {type: any.b}}]}`, "any.b", "any.c"},
		{`{all: [{prefix: {type: not.}}, {not: {suffix: {type: .no}}}]}`, "not.yes", "not.no"},
		{`{cesql: "type LIKE 'cesql.%' AND subject = 'größe'"}`, "cesql.yes", "other.no"},
	}
	var events []string
	for _, d := range dialects {
		events = append(events, "- filters: ["+d.filter+"]")
	}
	s.create(s.receiver("all", strings.Join(events, "\n")))
	s.ready("all")
	want := map[string]int{}
	for _, d := range dialects { // each Trigger opens by itself
		s.open("all", d.passes, "--subject", "größe")
	}
	for _, d := range dialects {
		want["yes-"+d.passes] = 1
		s.send("no-"+d.stays, d.stays, "--subject", "größe")
		s.send("yes-"+d.passes, d.passes, "--subject", "größe")
	}
	s.within(time.Minute, "all events that a filter lets pass", func() (bool, string) {
		got := s.counts("all")
		return len(got) >= len(want), fmt.Sprint(got)
	})
	if got := s.counts("all"); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestAChannelIsWiredOnACluster: the channel is missing at first, and what the
// function answers goes to another channel.
func TestAChannelIsWiredOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.create(s.receiver("first", `
- channel: in
  reply: {ref: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: out}}`, "REPLY_TYPE=answered"))
	s.within(2*time.Minute, "the missing Channel is named", func() (bool, string) {
		c := meta.FindStatusCondition(s.read("first").Status.Conditions, v1alpha1.ConditionWired)
		return c != nil && c.Reason == v1alpha1.ReasonChannelNotFound && strings.Contains(c.Message, s.namespace+"/in"), fmt.Sprint(c)
	})
	s.create(s.channel("in"), s.channel("out"), s.receiver("second", `
- channel: out
- source: {apiVersion: sources.knative.dev/v1, kind: PingSource, spec: {schedule: "* * * * * *", data: tick}}
  reply: {ref: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: in}}`, "REPLY_TYPE=ticked"))
	s.ready("first")
	s.ready("second")
	// The source ticks into the second function, whose answer goes to the
	// channel of the first, whose answer comes back by the other channel.
	s.gets("second", "dev.knative.sources.ping")
	s.gets("first", "ticked")
	s.gets("second", "answered")

	s.change("second", func(fn *v1alpha1.Function) { fn.Spec.Events = nil })
	s.within(time.Minute, "what is no longer named is gone", func() (bool, string) {
		left := append(s.left(&messagingv1.SubscriptionList{}, "second"), s.left(&messagingv1.ChannelList{}, "second")...)
		left = append(left, s.left(sourceList("PingSource"), "second")...)
		return len(left) == 0 && len(s.read("second").Status.SourceKinds) == 0, fmt.Sprint(left)
	})
	if err := s.api.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: "out"}, &messagingv1.Channel{}); err != nil {
		t.Errorf("a Channel that is nobody's: %v", err)
	}
}

func sourceList(kind string) *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("sources.knative.dev/v1")
	list.SetKind(kind + "List")
	return list
}

// left are the names of a Function's objects in a list.
func (s *stage) left(list client.ObjectList, function string) (names []string) {
	s.t.Helper()
	err := s.api.List(s.t.Context(), list, client.InNamespace(s.namespace), client.MatchingLabels{v1alpha1.LabelFunction: function})
	if err != nil {
		s.t.Fatal(err)
	}
	_ = meta.EachListItem(list, func(o runtime.Object) error {
		names = append(names, fmt.Sprintf("%T/%s", o, o.(client.Object).GetName()))
		return nil
	})
	return names
}

// TestEveryKindOfSourceOnACluster: PingSource is in the test of channels.
func TestEveryKindOfSourceOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	labels := map[string]string{"app": "emitter"}
	s.create(
		&corev1.ServiceAccount{ObjectMeta: s.named("watcher")},
		&rbacv1.RoleBinding{ObjectMeta: s.named("watcher"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "watcher", Namespace: s.namespace}}},
		&appsv1.Deployment{ObjectMeta: s.named("emitter"), Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: "emitter", Image: s.probe(), Args: []string{"emit", "bound"}}},
			}},
		}},
		s.receiver("sink", fmt.Sprintf(`
- source:
    apiVersion: sources.knative.dev/v1
    kind: ApiServerSource
    spec: {serviceAccountName: watcher, mode: Reference, resources: [{apiVersion: v1, kind: ConfigMap}]}
- source:
    apiVersion: sources.knative.dev/v1
    kind: ContainerSource
    spec: {template: {spec: {containers: [{name: emitter, image: %q, args: [emit, contained]}]}}}
- source:
    apiVersion: sources.knative.dev/v1
    kind: SinkBinding
    spec: {subject: {apiVersion: apps/v1, kind: Deployment, name: emitter}}
`, s.probe())))
	s.ready("sink")
	s.gets("sink", "contained")
	s.gets("sink", "bound")
	s.create(&corev1.ConfigMap{ObjectMeta: s.named("seen")})
	s.gets("sink", "dev.knative.apiserver.ref.add")
}

// TestDeliveryOnACluster: a function that never takes an event is asked as often
// as its manifest says, and the event then goes where that says, from a broker
// and from a source alike.
func TestDeliveryOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.broker("default")
	delivery := `delivery: {retry: 2, backoffPolicy: linear, backoffDelay: PT0.1S, timeout: PT5S, deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: dead}}}`
	s.create(s.receiver("dead", ""), s.receiver("sick", `
- filters: [{exact: {type: poison}}]
  `+delivery+`
- source: {apiVersion: sources.knative.dev/v1, kind: PingSource, spec: {schedule: "*/5 * * * * *", data: tick}}
  `+delivery, "STATUS=503"))
	s.ready("dead")
	s.ready("sick")
	s.open("dead", "poison")
	s.send("poisoned", "poison")
	s.within(time.Minute, "the event is a dead letter", func() (bool, string) {
		return s.counts("dead")["poisoned"] > 0, fmt.Sprint(s.received("dead"))
	})
	if tries, dead := s.counts("sick")["poisoned"], s.counts("dead")["poisoned"]; tries != 3 || dead != 1 {
		t.Errorf("it was tried %d times and came %d times as a dead letter, want 3 and 1", tries, dead)
	}
	ping := s.gets("dead", "dev.knative.sources.ping")
	if tries := s.counts("sick")[ping.ID]; tries != 3 {
		t.Errorf("the event of a source was tried %d times, want 3", tries)
	}
}

// TestWhatIsNoSourceIsRefusedOnACluster: a Function is no way to have the
// control plane make other objects.
func TestWhatIsNoSourceIsRefusedOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cases := map[string]struct{ kind, reason, text string }{
		"rights":    {"{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding}", v1alpha1.ReasonInvalid, "is no source"},
		"function":  {"{apiVersion: knit.dev/v1alpha1, kind: Function}", v1alpha1.ReasonInvalid, "is no source"},
		"uninstall": {"{apiVersion: a.example/v1, kind: NotThere}", v1alpha1.ReasonSourceNotFound, "no kind NotThere"},
	}
	for name, c := range cases {
		s.create(s.receiver(name, "- source: "+c.kind))
	}
	for name, c := range cases {
		s.within(2*time.Minute, name+" is refused", func() (bool, string) {
			wired := meta.FindStatusCondition(s.read(name).Status.Conditions, v1alpha1.ConditionWired)
			return wired != nil && wired.Status == metav1.ConditionFalse && wired.Reason == c.reason && strings.Contains(wired.Message, c.text), fmt.Sprint(wired)
		})
	}
}
