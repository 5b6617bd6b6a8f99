//go:build e2e

package functions

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// trouble is one thing that goes wrong with a Function that is called "it".
type trouble struct {
	labels []string // of the namespace
	// cause makes the trouble and returns the Function that meets it.
	cause  func(s *stage) *v1alpha1.Function
	reason string   // of the condition
	says   []string // in the condition and on the terminal
	within time.Duration
	// mend takes the cause away; nil where only another Function would help.
	mend func(s *stage)
}

// told is how long a cause that is plain at once may take to be told: the pod
// has to start, more than once where it crashes, on a machine that has more to do.
const told = 2 * time.Minute

// imageNotThere is the reason with containerd 1.6, which does not say that it is
// not there, but that it does not trust the registry without its CA.
const imageNotThere = "ImagePullFailed"

func troubles() map[string]trouble {
	return map[string]trouble{
		"image not there": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				fn.Spec.Source.Image = s.registry().Host + "/" + s.namespace + "/late@" + s.digest(s.variant("late", nil))
				return fn
			},
			reason: imageNotThere, says: []string{"/late@sha256:", "push it"},
			mend: func(s *stage) { s.push("late", s.variant("late", nil)) },
		},
		"tag not there": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				fn.Spec.Source.Image = s.registry().Host + "/knit/e2e-probe:no-such-tag"
				return fn
			},
			reason: imageNotThere, says: []string{"knit/e2e-probe:no-such-tag", "correct the name in spec.source.image"},
		},
		"no image": {
			cause: func(s *stage) *v1alpha1.Function {
				text := static.NewLayer([]byte("a text"), "text/plain")
				artifact, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, "application/vnd.oci.image.manifest.v1+json"), "application/vnd.example.text"), text)
				if err != nil {
					s.t.Fatal(err)
				}
				fn := s.function("it")
				fn.Spec.Source.Image = s.push("text", artifact)
				return fn
			},
			reason: "ImageInvalid", says: []string{"is no image that can be run"},
		},
		"image for another machine": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				fn.Spec.Source.Image = s.pushIndex("foreign", s.variant("foreign", nil), v1.Platform{OS: "linux", Architecture: "s390x"})
				return fn
			},
			reason: "ImageWrongPlatform", says: []string{"/foreign@sha256:", "build the image for them"},
		},
		"program for another machine": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				fn.Spec.Source.Image = s.push("alien", s.with(s.variant("alien", func(c *v1.ConfigFile) { c.Config.Entrypoint = []string{"/alien"} }), "alien", "\x7fELF of another world"))
				return fn
			},
			reason: "ImageWrongPlatform", says: []string{"/alien@sha256:", "build the image for them"},
		},
		"image without its program": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				fn.Spec.Source.Image = s.push("hollow", s.variant("hollow", func(c *v1.ConfigFile) { c.Config.Entrypoint = []string{"/nowhere"} }))
				return fn
			},
			reason: "CannotRun", says: []string{"/nowhere", "entrypoint"},
		},
		"registry down": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				fn.Spec.Source.Image = "127.0.0.1:1/app@sha256:" + strings.Repeat("a", 64)
				return fn
			},
			reason: "RegistryUnavailable", says: []string{"127.0.0.1:1/app", "check the registry"},
		},
		"registry down, by tag": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				fn.Spec.Source.Image = "127.0.0.1:1/app:v1"
				return fn
			},
			reason: "RegistryUnavailable", says: []string{"127.0.0.1:1/app:v1", "check the registry"},
		},
		"crashes without another service": {
			cause: func(s *stage) *v1alpha1.Function {
				return s.function("it", "need", "db."+s.namespace+".svc.cluster.local:80")
			},
			reason: "Crashed", says: []string{"exit code 1", "probe: dial tcp: lookup db.", "knit logs it --previous"},
			mend: func(s *stage) {
				labels := map[string]string{"app": "db"}
				pod := &corev1.Pod{ObjectMeta: s.named("db"), Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "db", Image: s.probe()}}}}
				pod.Labels = labels
				s.create(pod, &corev1.Service{ObjectMeta: s.named("db"), Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}}})
			},
		},
		"listens too late": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it", "late", "25s")
				fn.Spec.StartTimeout = &metav1.Duration{Duration: 3 * time.Second}
				return fn
			},
			reason: "NotListening", says: []string{"nothing listens on the port", "spec.startTimeout"},
			mend: func(*stage) {}, // it goes by itself
		},
		"needs a Secret": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				fn.Spec.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "login"}}}}
				return fn
			},
			reason: "ReferenceNotFound", says: []string{"Secret ", "/login is not there", "create it"},
			mend: func(s *stage) { s.create(&corev1.Secret{ObjectMeta: s.named("login")}) },
		},
		"needs a key of a Secret": {
			cause: func(s *stage) *v1alpha1.Function {
				s.create(&corev1.Secret{ObjectMeta: s.named("login"), StringData: map[string]string{"other": "x"}})
				fn := s.function("it")
				fn.Spec.Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "login"}, Key: "password"}}}}
				return fn
			},
			reason: "ReferenceInvalid", says: []string{"password", "correct the Secret"},
			mend: func(s *stage) {
				secret := &corev1.Secret{ObjectMeta: s.named("login")}
				patch := client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{"password":"y"}}`))
				if err := s.api.Patch(s.t.Context(), secret, patch); err != nil {
					s.t.Fatal(err)
				}
			},
		},
		"too little memory": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it", "oom")
				fn.Spec.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
				return fn
			},
			reason: "OutOfMemory", says: []string{"spec.resources.limits.memory"},
		},
		"quota": {
			cause: func(s *stage) *v1alpha1.Function {
				s.create(&corev1.ResourceQuota{ObjectMeta: s.named("small"), Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}}})
				return s.function("it")
			},
			reason: "QuotaExceeded", says: []string{"exceeded quota: small", "raise the ResourceQuota"},
			mend: func(s *stage) {
				if err := s.api.Delete(s.t.Context(), &corev1.ResourceQuota{ObjectMeta: s.named("small")}); err != nil {
					s.t.Fatal(err)
				}
			},
		},
		"pod refused": {
			labels: []string{"pod-security.kubernetes.io/enforce=restricted"},
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				fn.Spec.Source.Image = s.push("root", s.variant("root", func(c *v1.ConfigFile) { c.Config.User = "0" }))
				return fn
			},
			reason: "PodRefused", says: []string{"violates PodSecurity"},
		},
		"no node": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				fn.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500")}
				return fn
			},
			reason: "Unschedulable", says: []string{"Insufficient cpu", "spec.resources"},
		},
		"traffic to nowhere": {
			cause: func(s *stage) *v1alpha1.Function {
				fn := s.function("it")
				all := int64(100)
				fn.Spec.Traffic = []v1alpha1.TrafficTarget{{Revision: "it-00007", Percent: &all}}
				return fn
			},
			reason: "RevisionNotFound", says: []string{"it-00007", "knit revisions it"},
		},
	}
}

// Every trouble is told soon, on the terminal and in the status, with its cause
// and what to do; the command fails; and what can heal does so by itself,
// without a flap on the way.
func TestTroubleIsTold(t *testing.T) {
	for name, c := range troubles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, c.labels...)
			fn := c.cause(s)
			watched := s.watch("it")
			begin := time.Now()
			code, _, stderr := s.knit("deploy", manifest(t, fn), "--timeout", "3m")
			took := time.Since(begin)
			if code != 1 || !strings.Contains(stderr, c.reason) || took > max(c.within, told) {
				t.Errorf("exit code %d after %v:\n%s", code, took, stderr)
			}
			ready := meta.FindStatusCondition(s.read("it").Status.Conditions, v1alpha1.ConditionReady)
			if ready.Status != metav1.ConditionFalse || ready.Reason != c.reason {
				t.Errorf("Ready is %s %s: %s", ready.Status, ready.Reason, ready.Message)
			}
			for _, words := range c.says {
				if !strings.Contains(ready.Message, words) || !strings.Contains(stderr, words) {
					t.Errorf("it does not say %q: %s\n%s", words, ready.Message, stderr)
				}
			}
			t.Logf("told after %v: %s: %s", took.Round(time.Millisecond), ready.Reason, ready.Message)
			if c.mend == nil {
				return
			}
			c.mend(s)
			mended := time.Now()
			s.ready("it")
			t.Logf("healed after %v", time.Since(mended).Round(time.Millisecond))
			checkStates(t, watched.seen(s, "it"), c.reason)
		})
	}
}

// way is how Ready may go: one fault, which stays until it is over, and then on
// to ready. Unknown between the two is the traffic that comes to the revision.
var way = regexp.MustCompile(`^(Unknown )?False( Unknown)? True$`)

func checkStates(t *testing.T, states []string, reason string) {
	t.Helper()
	var statuses []string
	for _, state := range states {
		status := strings.Fields(state)[1]
		if n := len(statuses); n == 0 || statuses[n-1] != status {
			statuses = append(statuses, status)
		}
		if status == "False" && !strings.HasSuffix(state, " "+reason) {
			t.Errorf("another reason on the way: %q", states)
		}
	}
	if !way.MatchString(strings.Join(statuses, " ")) {
		t.Errorf("the status flaps: %q", states)
	}
}

// registry is the embedded cluster's.
func (s *stage) registry() images.Registry { return clusterRegistry(s.t, s.kube) }

// variant is the probe's image with another configuration.
func (s *stage) variant(label string, change func(*v1.ConfigFile)) v1.Image {
	s.t.Helper()
	options, done := s.registry().Remote(s.t.Context())
	defer done()
	ref, err := name.NewDigest(s.probe())
	if err != nil {
		s.t.Fatal(err)
	}
	image, err := remote.Image(ref, options...)
	if err != nil {
		s.t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		s.t.Fatal(err)
	}
	file = file.DeepCopy()
	file.Config.Labels = map[string]string{"stage": s.namespace + "/" + label}
	if change != nil {
		change(file)
	}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		s.t.Fatal(err)
	}
	return image
}

func (s *stage) digest(image v1.Image) string {
	s.t.Helper()
	digest, err := image.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	return digest.String()
}

// push sends an image to a repository of the stage and returns its reference.
func (s *stage) push(repository string, image v1.Image) string {
	s.t.Helper()
	ref, err := s.registry().Push(s.t.Context(), s.namespace+"/"+repository, image)
	if err != nil {
		s.t.Fatal(fmt.Errorf("push %s: %w", repository, err))
	}
	return ref.String()
}

// pushIndex sends an image as the one for a platform.
func (s *stage) pushIndex(repository string, image v1.Image, platform v1.Platform) string {
	s.t.Helper()
	registry := s.registry()
	options, done := registry.Remote(s.t.Context())
	defer done()
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	digest, err := index.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	repo, err := registry.Repository(s.namespace + "/" + repository)
	if err != nil {
		s.t.Fatal(err)
	}
	ref := repo.Digest(digest.String())
	if err := remote.WriteIndex(ref, index, options...); err != nil {
		s.t.Fatal(err)
	}
	return ref.String()
}

// with adds a program to an image.
func (s *stage) with(image v1.Image, name, content string) v1.Image {
	s.t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))})
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		s.t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		s.t.Fatal(err)
	}
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		s.t.Fatal(err)
	}
	return image
}
