package phase

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxLabels and maxLabelBytes bound what goes from the build's metadata into
// the image's configuration, which nodes read whole.
const (
	maxLabels     = 256
	maxLabelBytes = 256 << 10
	maxProcesses  = 256
	maxName       = 128
)

// readDescription decodes a file that must be a real one. What the decoder says
// may quote it and goes into the build's log: a real file is the tenant's own,
// so that no secret can be quoted.
func readDescription(path string, into any) error {
	content, err := readUntrusted(path)
	if err != nil {
		return refuse("%v", err)
	}
	decoded, err := toml.Decode(string(content), into)
	if err != nil {
		return refuse("%s: %v", path, err)
	}
	return oneSpelling(path, decoded.Keys())
}

// oneSpelling refuses "labels" beside "LABELS". The decoder takes either for
// the same field and keeps the one that it happens to meet last: the lifecycle
// could believe another one than the gate. Deeper down keys are free names.
func oneSpelling(path string, keys []toml.Key) error {
	const structure = 2
	spelled := map[string]string{}
	for _, key := range keys {
		if len(key) > structure {
			continue
		}
		name := key.String()
		if other, seen := spelled[strings.ToLower(name)]; seen && other != name {
			return refuse("%s has the keys %s and %s", path, other, name)
		}
		spelled[strings.ToLower(name)] = name
	}
	return nil
}

// checkAnalyzed looks at the decisions of analyze. A part of them, the description of the former image's layers,
// comes from labels of that image.
func (l leftovers) checkAnalyzed() error {
	if err := plainTree(filepath.Dir(l.analyzed)); err != nil {
		return err
	}
	var analyzed struct {
		Metadata struct {
			Buildpacks []struct {
				ID     string `toml:"key"`
				Layers map[string]any
			}
		}
	}
	if err := readDescription(l.analyzed, &analyzed); err != nil {
		return err
	}
	for _, buildpack := range analyzed.Metadata.Buildpacks {
		if err := checkID(buildpack.ID); err != nil {
			return err
		}
		for name := range buildpack.Layers {
			if err := checkLayerName(name, buildpack.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkGroup returns the ids of the buildpacks that the build says it is made by.
func (l leftovers) checkGroup() ([]string, error) {
	type element struct{ ID string }
	var group struct {
		Group      []element
		Extensions []element `toml:"group-extensions"`
	}
	file := filepath.Join(l.layers, "group.toml")
	if err := readDescription(file, &group); err != nil {
		return nil, err
	}
	var ids, folders []string
	for _, e := range slices.Concat(group.Group, group.Extensions) {
		if err := checkID(e.ID); err != nil {
			return nil, err
		}
		if slices.Contains(folders, folderOf(e.ID)) {
			return nil, refuse("%s names two buildpacks with the folder %s", file, folderOf(e.ID))
		}
		ids, folders = append(ids, e.ID), append(folders, folderOf(e.ID))
	}
	return ids, nil
}

// folderOf is the name of a buildpack's folder below the layers.
func folderOf(id string) string { return strings.ReplaceAll(id, "/", "_") }

// An id of a buildpack, and the ids that the specification keeps for folders
// of the lifecycle (https://github.com/buildpacks/spec/blob/main/buildpack.md#buildpacktoml-toml).
// The underscore is used by some buildpacks in spite of it.
var (
	idPattern = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)
	reserved  = []string{"app", "config", "generated", "sbom", "extended"}
)

func checkID(id string) error {
	ok := idPattern.MatchString(id) && len(id) <= maxName && !slices.Contains(reserved, id)
	for part := range strings.SplitSeq(id, "/") {
		ok = ok && strings.Trim(part, ".") != ""
	}
	if !ok {
		return refuse("%q is no id of a buildpack", id)
	}
	return nil
}

// checkLayerName refuses names that lead out of the buildpack's folder.
func checkLayerName(name, id string) error {
	if len(name) > maxName || strings.Trim(name, ".") == "" || strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }) {
		return refuse("%q is no name of a layer (buildpack %s)", name, id)
	}
	return nil
}

// checkMetadata bounds what the build says about the image. Labels that the
// lifecycle writes itself steer the next build: which layers there are, and
// which one is unpacked before it. No buildpack may write over them.
func checkMetadata(file string) error {
	var metadata struct {
		Labels []struct{ Key, Value string }
		// Only their number matters here.
		Processes []struct{ Type string }
	}
	if err := readDescription(file, &metadata); err != nil {
		return err
	}
	if len(metadata.Labels) > maxLabels || len(metadata.Processes) > maxProcesses {
		return refuse("the build asks for %d labels and %d processes; an image has %d of each at most",
			len(metadata.Labels), len(metadata.Processes), maxLabels)
	}
	size := 0
	for _, label := range metadata.Labels {
		if strings.HasPrefix(strings.ToLower(label.Key), "io.buildpacks.") {
			return refuse("a buildpack sets the label %q; labels that begin with io.buildpacks. are the lifecycle's", label.Key)
		}
		size += len(label.Key) + len(label.Value)
	}
	if size > maxLabelBytes {
		return refuse("the build asks for labels of %d bytes, more than the %d that an image may have", size, maxLabelBytes)
	}
	return nil
}
