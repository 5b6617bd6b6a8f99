package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Collect removes what nothing needs any more and that nobody asked for within
// the grace period: uploads that were given up, untagged manifests (only when
// Options.InUse is given and answers), and blobs that no manifest names. It
// returns the bytes freed.
//
// Pulls and pushes go on meanwhile and cannot lose content (see disk); deletes
// of manifests wait for it. Two calls run one after the other. A collection that
// is killed is finished by the next.
func (r *Registry) Collect(ctx context.Context) (freed int64, err error) {
	r.collecting.Lock()
	defer r.collecting.Unlock()
	r.disk.removals.Lock()
	defer r.disk.removals.Unlock()

	s := &sweeper{StorageDriver: r.disk.StorageDriver, disk: r.disk}
	namespace, err := storage.NewRegistry(ctx, s)
	if err != nil {
		return 0, fmt.Errorf("collect in %s: %w", r.root, err)
	}
	if err := s.removeUploads(); err != nil {
		return s.freed, fmt.Errorf("remove abandoned uploads in %s: %w", r.root, err)
	}
	if err := r.removeUntagged(ctx, namespace); err != nil {
		return s.freed, fmt.Errorf("remove untagged manifests in %s: %w", r.root, err)
	}
	if err := storage.MarkAndSweep(ctx, s, namespace, storage.GCOpts{Quiet: true}); err != nil {
		return s.freed, fmt.Errorf("remove unused blobs in %s: %w", r.root, err)
	}
	r.log.Info("collected", "freed", s.freed)
	return s.freed, nil
}

// removeUntagged asks InUse as late as possible: after the manifests are known
// and only when there is one to judge.
func (r *Registry) removeUntagged(ctx context.Context, namespace distribution.Namespace) error {
	if r.inUse == nil {
		return nil
	}
	repositories, err := readRepositories(ctx, namespace)
	if err != nil {
		return err
	}
	untagged := 0
	for _, repository := range repositories {
		for _, rev := range repository.revisions {
			if !rev.tagged && !r.disk.young(rev.digest) {
				untagged++
			}
		}
	}
	if untagged == 0 {
		return nil
	}
	references, err := r.inUse(ctx)
	if err != nil {
		r.log.Warn("untagged manifests are kept: the images in use are not known", "untagged", untagged, "error", err)
		return nil
	}
	inUse, err := digestsOf(references)
	if err != nil {
		r.log.Warn("untagged manifests are kept: the images in use are not known", "untagged", untagged, "error", err)
		return nil
	}
	for _, repository := range repositories {
		if err := r.disk.removeUnused(ctx, repository, inUse); err != nil {
			return err
		}
	}
	return nil
}

// repository is what a collection must know of one.
type repository struct {
	name      string
	tags      []string
	revisions []revision
}

func readRepositories(ctx context.Context, namespace distribution.Namespace) ([]repository, error) {
	enumerator, ok := namespace.(distribution.RepositoryEnumerator)
	if !ok {
		return nil, fmt.Errorf("%T cannot list its repositories", namespace)
	}
	var out []repository
	err := enumerator.Enumerate(ctx, func(name string) error {
		r, err := readRepository(ctx, namespace, name)
		if err != nil {
			return fmt.Errorf("read repository %s: %w", name, err)
		}
		out = append(out, r)
		return nil
	})
	return out, err
}

func readRepository(ctx context.Context, namespace distribution.Namespace, name string) (repository, error) {
	out := repository{name: name}
	named, err := reference.WithName(name)
	if err != nil {
		return out, err
	}
	repo, err := namespace.Repository(ctx, named)
	if err != nil {
		return out, err
	}
	tagged := map[digest.Digest]bool{}
	out.tags, err = repo.Tags(ctx).All(ctx)
	if err != nil && !errors.As(err, &distribution.ErrRepositoryUnknown{}) {
		return out, err
	}
	for _, tag := range out.tags {
		// A tag on its way has its index but not yet its current link.
		if d, err := repo.Tags(ctx).Get(ctx, tag); err == nil {
			tagged[d.Digest] = true
		} else if !errors.As(err, &distribution.ErrTagUnknown{}) {
			return out, fmt.Errorf("tag %s: %w", tag, err)
		}
	}
	manifests, err := repo.Manifests(ctx)
	if err != nil {
		return out, err
	}
	enumerator, ok := manifests.(distribution.ManifestEnumerator)
	if !ok {
		return out, fmt.Errorf("%T cannot list its manifests", manifests)
	}
	err = enumerator.Enumerate(ctx, func(d digest.Digest) error {
		m, err := manifests.Get(ctx, d)
		if err != nil {
			return fmt.Errorf("manifest %s: %w", d, err)
		}
		rev := revision{digest: d, tagged: tagged[d]}
		for _, ref := range m.References() {
			rev.refs = append(rev.refs, ref.Digest)
		}
		out.revisions = append(out.revisions, rev)
		return nil
	})
	return out, err
}

// removeUnused judges and removes the manifests of one repository while nobody
// looks at a blob, so that none is removed that a request has just renewed.
func (d *disk) removeUnused(ctx context.Context, r repository, inUse map[digest.Digest]bool) error {
	d.looks.Lock()
	defer d.looks.Unlock()
	for i := range r.revisions {
		r.revisions[i].young = d.young(r.revisions[i].digest)
	}
	vacuum := storage.NewVacuum(ctx, d.StorageDriver)
	for _, dgst := range unused(r.revisions, inUse) {
		if err := vacuum.RemoveManifest(r.name, dgst, r.tags); err != nil {
			return fmt.Errorf("%s@%s: %w", r.name, dgst, err)
		}
	}
	return nil
}

// young tells whether anyone asked for a blob within the grace period.
func (d *disk) young(dgst digest.Digest) bool {
	info, err := os.Stat(d.file(path.Join("/docker/registry/v2/blobs", dgst.Algorithm().String(), dgst.Encoded()[:2], dgst.Encoded(), "data")))
	return err == nil && time.Since(info.ModTime()) < d.grace
}

// sweeper is the disk as a collection sees it: looking renews nothing, a folder
// that is not there is empty, and what is young cannot be deleted.
type sweeper struct {
	storagedriver.StorageDriver
	disk  *disk
	freed int64
}

// ofDigest matches the paths of a blob and of a repository's link to a layer.
var ofDigest = regexp.MustCompile(`/(?:blobs/([a-z0-9]+)/[0-9a-f]{2}|_layers/([a-z0-9]+))/([0-9a-f]{32,})(/link)?$`)

func (s *sweeper) Delete(_ context.Context, target string) error {
	s.disk.looks.Lock()
	defer s.disk.looks.Unlock()
	file := s.disk.file(target)
	if m := ofDigest.FindStringSubmatch(target); m != nil {
		if s.disk.young(digest.NewDigestFromEncoded(digest.Algorithm(m[1]+m[2]), m[3])) {
			return nil
		}
		if m[4] != "" {
			file = filepath.Dir(file) // the folder holds nothing but the link
		}
	}
	return s.remove(file)
}

func (s *sweeper) remove(file string) error {
	size, err := sizeOf(file)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(file); err != nil {
		return err
	}
	s.freed += size
	return nil
}

// Walk takes a folder that does not exist for an empty one. A folder that
// disappears further down stays an error: what is not seen is not marked.
func (s *sweeper) Walk(ctx context.Context, from string, f storagedriver.WalkFn, options ...func(*storagedriver.WalkOptions)) error {
	err := s.StorageDriver.Walk(ctx, from, f, options...)
	if missing := (storagedriver.PathNotFoundError{}); errors.As(err, &missing) && missing.Path == from {
		return nil
	}
	return err
}

// removeUploads removes the uploads that got no byte within the grace period,
// however long ago they began. (The library's own goes by the begin, and fails
// when an upload ends while it looks.)
func (s *sweeper) removeUploads() error {
	root := s.disk.file("/docker/registry/v2/repositories")
	return filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case entry.Name() == "_manifests" || entry.Name() == "_layers":
			return fs.SkipDir
		case filepath.Base(filepath.Dir(file)) != "_uploads":
			return nil
		}
		if last, err := lastWrite(file); err != nil || time.Since(last) < s.disk.grace {
			return fs.SkipDir // it is being written, or has just ended
		}
		if err := s.remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return fs.SkipDir
	})
}

// lastWrite is the time of the newest file of an upload.
func lastWrite(dir string) (time.Time, error) {
	var last time.Time
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
		return err
	})
	return last, err
}

func sizeOf(file string) (int64, error) {
	var size int64
	err := filepath.WalkDir(file, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		return nil
	})
	return size, err
}
