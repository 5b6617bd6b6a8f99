package knative

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

const (
	fieldOwner = "knit-cluster"
	// hashAnnotation holds the hash of what was applied. An object with the
	// same hash is left alone: installing again is quick, and what controllers
	// or people changed since then stays.
	hashAnnotation = "cluster.knit.dev/applied"
	// parallelApplies is how many objects are sent at once.
	parallelApplies = 16
	// applyPatience is how long one object is tried while the API server or a
	// webhook is not ready for it.
	applyPatience = 2 * time.Minute
)

// Install applies the stages in order by server-side apply and returns when
// all that they wait for is true. Objects that were applied before in the same
// form are left alone, objects that are missing come back. progress is told
// stages and workloads as they become ready, never twice at once. The context
// limits the whole; when it ends, the error names what was not ready and why.
// What is as it should be from the start is not told.
func Install(ctx context.Context, cfg *rest.Config, stages []Stage, progress func(format string, args ...any)) error {
	in, err := newInstaller(cfg, progress)
	if err != nil {
		return fmt.Errorf("install Knative: %w", err)
	}
	if err := in.readApplied(ctx, stages); err != nil {
		return fmt.Errorf("install Knative: %w", err)
	}
	var sofar []unstructured.Unstructured
	for _, s := range stages {
		changed, err := in.applyAll(ctx, s.Objects)
		if err != nil {
			return fmt.Errorf("install Knative: %s: %w", s.Name, err)
		}
		if changed > 0 {
			in.say("%s: %d applied, %d unchanged", s.Name, changed, len(s.Objects)-changed)
		}
		sofar = append(sofar, s.Objects...)
		switch s.Wait {
		case WaitEstablished:
			err = in.waitEstablished(ctx, s.Objects)
		case WaitAvailable:
			err = in.waitAvailable(ctx, sofar)
		}
		if err != nil {
			return fmt.Errorf("install Knative: %s: %w", s.Name, err)
		}
	}
	return nil
}

type installer struct {
	dynamic  dynamic.Interface
	metadata metadata.Interface

	progressMu sync.Mutex
	progress   func(format string, args ...any)

	appliedMu sync.Mutex
	applied   map[identity]string // hash of what is in the cluster
}

func newInstaller(cfg *rest.Config, progress func(string, ...any)) (*installer, error) {
	cfg = rest.CopyConfig(cfg)
	// The API server is on this machine and has its own fairness.
	cfg.QPS, cfg.RateLimiter = -1, nil
	cfg.WarningHandler = rest.NoWarnings{}
	d, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	m, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &installer{dynamic: d, metadata: m, progress: progress, applied: map[identity]string{}}, nil
}

func (in *installer) say(format string, args ...any) {
	in.progressMu.Lock()
	defer in.progressMu.Unlock()
	if in.progress != nil {
		in.progress(format, args...)
	}
}

// resourceOf needs no discovery: the kinds are known, and their plural is regular.
func resourceOf(gvk schema.GroupVersionKind) schema.GroupVersionResource {
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return plural
}

// collection is one resource in one namespace ("" for the cluster).
type collection struct {
	gvk       schema.GroupVersionKind
	namespace string
}

// readApplied lists what is in the cluster already, metadata only.
func (in *installer) readApplied(ctx context.Context, stages []Stage) error {
	lists := map[collection]bool{}
	for _, s := range stages {
		for _, o := range s.Objects {
			lists[collection{o.GroupVersionKind(), o.GetNamespace()}] = true
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelApplies)
	for c := range lists {
		group.Go(func() error {
			list, err := in.metadata.Resource(resourceOf(c.gvk)).Namespace(c.namespace).List(ctx, metav1.ListOptions{})
			if apierrors.IsNotFound(err) {
				return nil // the definition of this kind is still to come
			}
			if err != nil {
				return fmt.Errorf("list %s: %w", c.gvk.Kind, err)
			}
			in.appliedMu.Lock()
			defer in.appliedMu.Unlock()
			for _, o := range list.Items {
				if o.DeletionTimestamp == nil {
					id := identity{c.gvk.GroupVersion().String(), c.gvk.Kind, o.Namespace, o.Name}
					in.applied[id] = o.Annotations[hashAnnotation]
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// applyAll applies objects concurrently and returns how many needed it.
func (in *installer) applyAll(ctx context.Context, objects []unstructured.Unstructured) (int, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelApplies)
	changed := 0
	for i := range objects {
		o := objects[i].DeepCopy()
		hash, err := hashOf(o)
		if err != nil {
			return 0, err
		}
		if in.applied[identityOf(o)] == hash {
			continue
		}
		changed++
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[hashAnnotation] = hash
		o.SetAnnotations(annotations)
		group.Go(func() error { return in.applyOne(ctx, o) })
	}
	return changed, group.Wait()
}

func hashOf(o *unstructured.Unstructured) (string, error) {
	data, err := json.Marshal(o.Object) // maps are written in order
	if err != nil {
		return "", fmt.Errorf("%s: %w", describe(o), err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}

func (in *installer) applyOne(ctx context.Context, o *unstructured.Unstructured) error {
	client := in.dynamic.Resource(resourceOf(o.GroupVersionKind())).Namespace(o.GetNamespace())
	limited, cancel := context.WithTimeout(ctx, applyPatience)
	defer cancel()
	var cause error // of the last try that had an answer
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		_, err := client.Apply(limited, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldOwner, Force: true})
		if err == nil {
			return nil
		}
		if limited.Err() != nil {
			return fmt.Errorf("apply %s: gave up: %w", describe(o), cmp.Or(cause, err))
		}
		if !passes(err) {
			return fmt.Errorf("apply %s: %w", describe(o), err)
		}
		cause = err
		select {
		case <-limited.Done():
			return fmt.Errorf("apply %s: gave up: %w", describe(o), cause)
		case <-time.After(delay):
		}
	}
}

// passes says whether an apply may succeed a moment later: the API server is
// busy or starting, a webhook's pod or certificate is not there yet, or the kind
// or namespace was created a moment ago. A refusal does not pass.
func passes(err error) bool {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err), apierrors.IsTooManyRequests(err),
		apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return true
	case utilnet.IsConnectionRefused(err), utilnet.IsConnectionReset(err), utilnet.IsProbableEOF(err), utilnet.IsHTTP2ConnectionLost(err):
		return true
	}
	return errors.As(err, &timeout) && timeout.Timeout()
}
