package phase

import (
	"bytes"
	"fmt"
	"os"

	"github.com/BurntSushi/toml"
)

// restoreAPI is the version of the buildpack API that the restorer is told for
// every buildpack: since 0.6 it decides nothing about layers.
const restoreAPI = "0.10"

// writeRestored writes the group of the buildpacks that built the image before,
// and tells whether there is any.
func writeRestored(analyzed, to string) (bool, error) {
	var before struct {
		Metadata struct {
			Buildpacks []struct {
				Key     string `toml:"key"`
				Version string `toml:"version"`
			} `toml:"buildpacks"`
		} `toml:"metadata"`
	}
	if _, err := toml.DecodeFile(analyzed, &before); err != nil {
		return false, err
	}
	type element struct {
		ID      string `toml:"id"`
		Version string `toml:"version"`
		API     string `toml:"api"`
	}
	var group struct {
		Group []element `toml:"group"`
	}
	for _, b := range before.Metadata.Buildpacks {
		group.Group = append(group.Group, element{ID: b.Key, Version: b.Version, API: restoreAPI})
	}
	if len(group.Group) == 0 {
		return false, nil
	}
	return true, writeTOML(to, group)
}

// keepTarget fills in what detect has dropped when an extension switched the
// run image: for which system the image is. Builders that offer run images for
// several systems are none, so it is that of the first one. The image's
// distribution is not known here.
func keepTarget(analyzed, proposed string) error {
	var decided, chosen map[string]any
	if _, err := toml.DecodeFile(analyzed, &decided); err != nil {
		return err
	}
	content, err := readUntrusted(proposed)
	if err != nil {
		return err
	}
	if err := toml.Unmarshal(content, &chosen); err != nil {
		return fmt.Errorf("%s: %w", proposed, err)
	}
	before, _ := decided["run-image"].(map[string]any)
	target, known := before["target"].(map[string]any)
	image, ok := chosen["run-image"].(map[string]any)
	if _, there := image["target"]; !ok || there || !known {
		return nil
	}
	system := map[string]any{}
	for _, key := range []string{"os", "arch", "arch-variant"} {
		if value, ok := target[key]; ok {
			system[key] = value
		}
	}
	image["target"] = system
	return writeTOML(proposed, chosen)
}

func writeTOML(path string, value any) error {
	var out bytes.Buffer
	if err := toml.NewEncoder(&out).Encode(value); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}
