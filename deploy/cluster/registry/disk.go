package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

const (
	driverName      = "knit-disk"
	driverParameter = "disk"
	scratch         = "scratch" // below the root: small files on their way to their place
)

// blobData matches the path of a blob's content in the library's layout.
var blobData = regexp.MustCompile(`^/docker/registry/v2/blobs/[a-z0-9]+/[0-9a-f]{2}/[0-9a-f]{32,}/data$`)

// manifestPart matches everything that belongs to manifests and tags.
var manifestPart = regexp.MustCompile(`^/docker/registry/v2/repositories/.+/_manifests(/|$)`)

// The library finds storage by name in a list of the process; this hands it the
// disk that New opened.
func init() { factory.Register(driverName, opened{}) }

type opened struct{}

func (opened) Create(_ context.Context, parameters map[string]any) (storagedriver.StorageDriver, error) {
	d, ok := parameters[driverParameter].(*disk)
	if !ok {
		return nil, errors.New("the registry's disk was not opened")
	}
	return d, nil
}

// disk is the library's filesystem storage with three changes.
//
// A small file (a link, a manifest) appears whole or not at all, so neither
// kill -9 nor a full disk can leave an empty link, which would end every later
// collection.
//
// The time of a blob's content says when anyone last asked for it: every look at
// it by a request renews it. Collect removes only what is older than the grace
// period, and looks and removals exclude each other. So a blob for which a push
// was told "it is there" stays until long after the manifest is written, whether
// the blob was just uploaded, mounted or merely found. This needs no pause of
// pushes.
//
// An error that means "disk full" is noted for the request that met it.
type disk struct {
	storagedriver.StorageDriver
	root  string
	grace time.Duration

	// looks is held for reading while a blob is looked at and renewed, for
	// writing while its age is judged and it is removed.
	looks sync.RWMutex
	// removals is held for writing by a collection: deletes of manifests and
	// tags by requests wait, because marking must find what it listed.
	removals sync.RWMutex
}

func openDisk(root string, grace time.Duration) (*disk, error) {
	// What lies here was on its way when the last process was killed.
	if err := os.RemoveAll(filepath.Join(root, scratch)); err != nil {
		return nil, fmt.Errorf("empty the registry's scratch folder: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(root, scratch), 0o700); err != nil {
		return nil, fmt.Errorf("make the registry's scratch folder: %w", err)
	}
	inner := filesystem.New(filesystem.DriverParameters{RootDirectory: root, MaxThreads: 100})
	return &disk{StorageDriver: inner, root: root, grace: grace}, nil
}

func (d *disk) Name() string { return driverName }

func (d *disk) file(path string) string { return filepath.Join(d.root, filepath.FromSlash(path)) }

// Stat renews the time of a blob's content.
func (d *disk) Stat(ctx context.Context, path string) (storagedriver.FileInfo, error) {
	if !blobData.MatchString(path) {
		return d.StorageDriver.Stat(ctx, path)
	}
	d.looks.RLock()
	defer d.looks.RUnlock()
	info, err := d.StorageDriver.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	// A tenth of the period is precise enough and spares most writes.
	if now := time.Now(); now.Sub(info.ModTime()) > d.grace/10 {
		if err := os.Chtimes(d.file(path), now, now); err != nil {
			return nil, fmt.Errorf("keep blob %s from being collected: %w", path, err)
		}
	}
	return info, nil
}

// Move puts a finished upload in its place; its grace period begins now.
func (d *disk) Move(ctx context.Context, from, to string) error {
	d.looks.RLock()
	defer d.looks.RUnlock()
	if err := d.StorageDriver.Move(ctx, from, to); err != nil {
		return noteFull(ctx, err)
	}
	if !blobData.MatchString(to) {
		return nil
	}
	now := time.Now()
	return os.Chtimes(d.file(to), now, now)
}

// PutContent replaces a small file atomically.
func (d *disk) PutContent(ctx context.Context, path string, content []byte) error {
	if !storagedriver.PathRegexp.MatchString(path) {
		return storagedriver.InvalidPathError{Path: path, DriverName: driverName}
	}
	return noteFull(ctx, d.replace(d.file(path), content))
}

func (d *disk) replace(file string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Join(d.root, scratch), "")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails when it was renamed
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

// Writer streams an upload to its file.
func (d *disk) Writer(ctx context.Context, path string, appending bool) (storagedriver.FileWriter, error) {
	w, err := d.StorageDriver.Writer(ctx, path, appending)
	if err != nil {
		return nil, noteFull(ctx, err)
	}
	return &upload{FileWriter: w, ctx: ctx}, nil
}

// Delete removes a path for a request.
func (d *disk) Delete(ctx context.Context, path string) error {
	if manifestPart.MatchString(path) {
		d.removals.RLock()
		defer d.removals.RUnlock()
	}
	return d.StorageDriver.Delete(ctx, path)
}

// upload gives the space of a partial upload back as soon as the disk is full;
// otherwise it would stay full until the upload is old enough to be collected.
type upload struct {
	storagedriver.FileWriter
	ctx context.Context
}

func (u *upload) Write(p []byte) (int, error) {
	n, err := u.FileWriter.Write(p)
	return n, u.full(err)
}

func (u *upload) Commit(ctx context.Context) error {
	return u.full(u.FileWriter.Commit(ctx))
}

func (u *upload) full(err error) error {
	if isFull(err) {
		_ = u.Cancel(u.ctx) // fails when it was cancelled before
	}
	return noteFull(u.ctx, err)
}

// isFull looks also inside the library's own error, which cannot be unwrapped.
func isFull(err error) bool {
	var own storagedriver.Error
	if errors.As(err, &own) {
		err = own.Detail
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
