package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	// sweepEvery is how often unused sources are looked for, sweepFirst how long
	// after the start for the first time.
	sweepEvery = time.Hour
	sweepFirst = 5 * time.Minute
	// keepUnused is how long a source stays that no Function and no Build names:
	// a push comes before the Function that names it.
	keepUnused = time.Hour
)

// Sweeper drops the sources that nobody needs any more. A source is needed while
// a Function or a Build names it; of Builds, the Function controller keeps the
// newest few. The registry's own collection then frees the space.
//
// One replica sweeps. It asks the registry and the API each time and keeps
// nothing in memory.
type Sweeper struct {
	store  *store
	reader client.Reader
	now    func() time.Time
}

// NewSweeper needs the Registry, Keychain, Transport and Reader of the options.
// The Reader must not be behind.
func NewSweeper(o Options) *Sweeper {
	return &Sweeper{store: o.withDefaults().store(), reader: o.Reader, now: time.Now}
}

// NeedLeaderElection tells a controller-runtime manager that one is enough.
func (s *Sweeper) NeedLeaderElection() bool { return true }

// Start sweeps until ctx ends. A failure is logged; the next time comes.
func (s *Sweeper) Start(ctx context.Context) error {
	for wait := sweepFirst; sleep(ctx, wait) == nil; wait = sweepEvery {
		dropped, err := s.sweep(ctx)
		err = errors.Join(err, s.forgetReplicaLogs(ctx))
		if err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Unused sources were not all dropped; trying again later", "after", sweepEvery)
		}
		if dropped > 0 {
			klog.FromContext(ctx).Info("Dropped unused sources", "count", dropped)
		}
	}
	return nil
}

// sweep returns how many sources it dropped.
func (s *Sweeper) sweep(ctx context.Context) (int, error) {
	// What is in the registry is read before who needs it: a source that comes
	// in between is not looked at.
	namespaces, err := s.repositories(ctx)
	if err != nil {
		return 0, err
	}
	stored := map[string][]string{}
	for _, namespace := range namespaces {
		tags, err := s.tags(ctx, namespace)
		if err != nil {
			return 0, err
		}
		stored[namespace] = tags
	}
	needed, err := s.needed(ctx)
	if err != nil {
		return 0, err
	}
	dropped := 0
	var failed error
	for _, namespace := range slices.Sorted(maps.Keys(stored)) {
		for _, tag := range stored[namespace] {
			if upload, ok := digestOfPartial(tag); ok {
				failed = errors.Join(failed, s.dropAbandoned(ctx, namespace, upload))
				continue
			}
			digest, ok := digestOfTag(tag)
			if !ok || needed[namespace+"/"+digest.String()] {
				continue
			}
			gone, err := s.drop(ctx, namespace, digest)
			failed = errors.Join(failed, err)
			if gone {
				dropped++
			}
		}
	}
	return dropped, failed
}

// repositories are the namespaces that have sources. A registry that lists no
// repositories is asked about the namespaces that have Functions.
func (s *Sweeper) repositories(ctx context.Context) ([]string, error) {
	registry, err := name.NewRegistry(s.store.registry, name.StrictValidation)
	if err != nil {
		return nil, err
	}
	all, err := remote.Catalog(ctx, registry, s.store.options(ctx)...)
	if err != nil {
		return s.namespaces(ctx)
	}
	var out []string
	for _, repository := range all {
		below, ok := strings.CutSuffix(repository, "/sources")
		if !ok {
			continue
		}
		if prefix := strings.Trim(s.store.prefix, "/"); prefix != "" {
			if below, ok = strings.CutPrefix(below, prefix+"/"); !ok {
				continue
			}
		}
		if !strings.Contains(below, "/") {
			out = append(out, below)
		}
	}
	return out, nil
}

func (s *Sweeper) namespaces(ctx context.Context) ([]string, error) {
	var functions v1alpha1.FunctionList
	if err := s.reader.List(ctx, &functions); err != nil {
		return nil, fmt.Errorf("list Functions: %w", err)
	}
	out := map[string]bool{}
	for _, f := range functions.Items {
		out[f.Namespace] = true
	}
	return slices.Sorted(maps.Keys(out)), nil
}

func (s *Sweeper) tags(ctx context.Context, namespace string) ([]string, error) {
	repository, err := s.store.repository(namespace)
	if err != nil {
		return nil, err
	}
	tags, err := remote.List(repository, s.store.options(ctx)...)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the sources in %s: %w", repository, err)
	}
	return tags, nil
}

// needed are the sources that a Function or a Build names, as namespace/digest.
func (s *Sweeper) needed(ctx context.Context) (map[string]bool, error) {
	var functions v1alpha1.FunctionList
	if err := s.reader.List(ctx, &functions); err != nil {
		return nil, fmt.Errorf("list Functions: %w", err)
	}
	var builds v1alpha1.BuildList
	if err := s.reader.List(ctx, &builds); err != nil {
		return nil, fmt.Errorf("list Builds: %w", err)
	}
	needed := map[string]bool{}
	for _, f := range functions.Items {
		if a := f.Spec.Source.Archive; a != nil {
			needed[path.Join(f.Namespace, a.Digest)] = true
		}
	}
	for _, b := range builds.Items {
		needed[path.Join(b.Namespace, b.Spec.Source.Archive.Digest)] = true
	}
	return needed, nil
}

// drop removes the manifest that it has judged, by digest: when somebody asks
// for the source meanwhile, the tag names another one, which stays.
func (s *Sweeper) drop(ctx context.Context, namespace string, digest v1.Hash) (bool, error) {
	f, err := s.store.find(ctx, namespace, digest)
	if errors.Is(err, errUnknownSource) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if s.now().Sub(f.wanted) < keepUnused {
		return false, nil
	}
	repository, err := s.store.repository(namespace)
	if err != nil {
		return false, err
	}
	if err := remote.Delete(repository.Digest(f.manifest.String()), s.store.options(ctx)...); err != nil && !absent(err) {
		return false, fmt.Errorf("drop source %s from %s: %w", digest, repository, err)
	}
	return true, nil
}

// forgetReplicaLogs drops what replicas wrote long ago, also of functions that
// are no more. A registry that lists no repositories keeps the last few of each.
func (s *Sweeper) forgetReplicaLogs(ctx context.Context) error {
	registry, err := name.NewRegistry(s.store.registry, name.StrictValidation)
	if err != nil {
		return err
	}
	all, err := remote.Catalog(ctx, registry, s.store.options(ctx)...)
	if err != nil {
		return nil
	}
	var failed error
	for _, repository := range all {
		below, ok := strings.CutSuffix(repository, "/"+replicaLogs)
		if prefix := strings.Trim(s.store.prefix, "/"); ok && prefix != "" {
			below, ok = strings.CutPrefix(below, prefix+"/")
		}
		if !ok || strings.Count(below, "/") != 1 {
			continue
		}
		logs, err := name.NewRepository(path.Join(s.store.registry, repository), name.StrictValidation)
		if err == nil {
			err = s.store.forgetReplicaLogs(ctx, logs, keepReplicaLogs, s.now().Add(-keepReplicaLog))
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// dropAbandoned removes an upload that nobody goes on with.
func (s *Sweeper) dropAbandoned(ctx context.Context, namespace string, digest v1.Hash) error {
	p, err := s.store.findPartial(ctx, namespace, digest)
	if errors.Is(err, errUnknownSource) || err == nil && s.now().Sub(p.updated) < keepPartial {
		return nil
	}
	if err != nil {
		return err
	}
	return s.store.dropPartial(ctx, namespace, p)
}

// digestOfTag is the opposite of tagOf; other tags are none of sources.
func digestOfTag(tag string) (v1.Hash, bool) {
	algorithm, hex, ok := strings.Cut(tag, "-")
	if !ok || algorithm != "sha256" {
		return v1.Hash{}, false
	}
	digest, err := v1.NewHash(algorithm + ":" + hex)
	return digest, err == nil
}
