package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// replicaLogType is what a replica wrote at last: an artifact with one layer
	// of text, in <namespace>/<function>/replica-logs.
	replicaLogType                  = "application/vnd.knit.function.log.v1"
	replicaTextType types.MediaType = "application/vnd.knit.function.log.v1.text"
	replicaLogs                     = "replica-logs"

	podAnnotation      = "dev.knit.log.pod"
	revisionAnnotation = "dev.knit.log.revision"
	cutAnnotation      = "dev.knit.log.truncated"

	// keepReplicaLogs are kept of a function, each for keepReplicaLog and of at
	// most replicaLogBytes.
	keepReplicaLogs = 10
	keepReplicaLog  = 24 * time.Hour
	replicaLogBytes = 64 << 10
)

// replicaLog is the end of what one replica wrote.
type replicaLog struct {
	uid, pod, revision string
	ended              time.Time
	truncated          bool // the beginning is missing
	text               []byte
}

// tag begins with the time, so that a list of tags says which are old.
func (l replicaLog) tag() string { return strconv.FormatInt(l.ended.Unix(), 10) + "-" + l.uid }

func endOfTag(tag string) (time.Time, bool) {
	seconds, _, found := strings.Cut(tag, "-")
	n, err := strconv.ParseInt(seconds, 10, 64)
	return time.Unix(n, 0), found && err == nil
}

func (s *store) replicaLogs(namespace, function string) (name.Repository, error) {
	return name.NewRepository(path.Join(s.registry, s.prefix, namespace, function, replicaLogs), name.StrictValidation)
}

// keepReplicaLog stores the end of a replica's log, and drops those of the same
// function that are too many or too old by now.
func (s *store) keepReplicaLog(ctx context.Context, namespace, function string, l replicaLog) error {
	repository, err := s.replicaLogs(namespace, function)
	if err != nil {
		return err
	}
	opts := s.options(ctx)
	text := static.NewLayer(l.text, replicaTextType)
	for _, layer := range []v1.Layer{text, emptyConfig} {
		if err := remote.WriteLayer(repository, layer, opts...); err != nil {
			return fmt.Errorf("keep the log of pod %s/%s: %w", namespace, l.pod, err)
		}
	}
	manifest, err := l.artifact(text)
	if err != nil {
		return err
	}
	if err := remote.Put(repository.Tag(l.tag()), manifest, opts...); err != nil {
		return fmt.Errorf("keep the log of pod %s/%s: %w", namespace, l.pod, err)
	}
	return s.forgetReplicaLogs(ctx, repository, keepReplicaLogs, l.ended.Add(-keepReplicaLog))
}

func (l replicaLog) artifact(text v1.Layer) (rawManifest, error) {
	config, err := emptyConfig.Digest()
	if err != nil {
		return nil, err
	}
	digest, err := text.Digest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(artifact{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: replicaLogType,
		Config:      v1.Descriptor{MediaType: emptyMediaType, Digest: config, Size: 2, Data: []byte("{}")},
		Layers:      []v1.Descriptor{{MediaType: replicaTextType, Digest: digest, Size: int64(len(l.text))}},
		Annotations: map[string]string{podAnnotation: l.pod, revisionAnnotation: l.revision, cutAnnotation: strconv.FormatBool(l.truncated)},
	})
}

// replicaLogTags are the kept logs of a repository, the oldest first.
func (s *store) replicaLogTags(ctx context.Context, repository name.Repository) ([]string, error) {
	tags, err := remote.List(repository, s.options(ctx)...)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the kept logs in %s: %w", repository, err)
	}
	tags = slices.DeleteFunc(tags, func(tag string) bool { _, ok := endOfTag(tag); return !ok })
	slices.SortFunc(tags, func(a, b string) int {
		first, _ := endOfTag(a)
		second, _ := endOfTag(b)
		if c := first.Compare(second); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return tags, nil
}

// forgetReplicaLogs drops all but the newest keep, and those that ended before.
func (s *store) forgetReplicaLogs(ctx context.Context, repository name.Repository, keep int, before time.Time) error {
	tags, err := s.replicaLogTags(ctx, repository)
	if err != nil {
		return err
	}
	var failed error
	for i, tag := range tags {
		ended, _ := endOfTag(tag)
		if i >= len(tags)-keep && !ended.Before(before) {
			continue
		}
		descriptor, err := remote.Head(repository.Tag(tag), s.options(ctx)...)
		if err == nil {
			err = remote.Delete(repository.Digest(descriptor.Digest.String()), s.options(ctx)...)
		}
		if err != nil && !absent(err) && !unsupported(err) {
			failed = errors.Join(failed, fmt.Errorf("drop the kept log %s from %s: %w", tag, repository, err))
		}
	}
	return failed
}

// readReplicaLogs hands the kept logs of a function out one by one, the oldest
// first: those that ended after a time, of one revision or of all.
func (s *store) readReplicaLogs(ctx context.Context, namespace, function, revision string, after time.Time, each func(replicaLog) error) error {
	repository, err := s.replicaLogs(namespace, function)
	if err != nil {
		return err
	}
	tags, err := s.replicaLogTags(ctx, repository)
	if err != nil {
		return err
	}
	for _, tag := range tags[max(0, len(tags)-keepReplicaLogs):] {
		ended, _ := endOfTag(tag)
		if ended.Before(after) {
			continue
		}
		l, err := s.readReplicaLog(ctx, repository, tag)
		if absent(err) || err == nil && revision != "" && l.revision != revision {
			continue
		}
		if err != nil {
			return err
		}
		l.ended = ended
		if err := each(l); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) readReplicaLog(ctx context.Context, repository name.Repository, tag string) (replicaLog, error) {
	descriptor, err := remote.Get(repository.Tag(tag), s.options(ctx)...)
	if err != nil {
		return replicaLog{}, fmt.Errorf("read the kept log %s of %s: %w", tag, repository, err)
	}
	found, err := readArtifact(descriptor.Manifest)
	if err != nil || found.ArtifactType != replicaLogType || len(found.Layers) != 1 {
		return replicaLog{}, fmt.Errorf("the kept log %s of %s is none of Knit's", tag, repository)
	}
	layer, err := remote.Layer(repository.Digest(found.Layers[0].Digest.String()), s.options(ctx)...)
	if err != nil {
		return replicaLog{}, err
	}
	content, err := layer.Compressed()
	if err != nil {
		return replicaLog{}, fmt.Errorf("read the kept log %s of %s: %w", tag, repository, err)
	}
	defer content.Close()
	text, err := io.ReadAll(io.LimitReader(content, replicaLogBytes))
	if err != nil {
		return replicaLog{}, fmt.Errorf("read the kept log %s of %s: %w", tag, repository, err)
	}
	note := found.Annotations
	return replicaLog{pod: note[podAnnotation], revision: note[revisionAnnotation], truncated: note[cutAnnotation] == "true", text: text}, nil
}
