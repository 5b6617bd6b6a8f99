package phase

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// leftovers are the folders in which phases leave files for those after them.
// The lifecycle follows and believes what it finds there; export does so with
// the registry login. So it is looked at before, when no process of the tenant
// is left, and what no honest buildpack leaves is refused.
type leftovers struct {
	layers, analyzed string
	app              string // may be empty

	limits limits
}

// errRefused marks what the author of the source or of a buildpack must change.
var errRefused = errors.New("refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errRefused, fmt.Sprintf(format, args...))
}

// beforeExport looks at what the build left. Links within a layer are the
// tenant's own business, they are packed as links; the folders and files by
// which the lifecycle finds its way must be real ones.
func (l leftovers) beforeExport() error {
	if err := l.checkAnalyzed(); err != nil {
		return err
	}
	group, err := l.checkGroup()
	if err != nil {
		return err
	}
	if err := plainFolder(l.layers); err != nil {
		return err
	}
	for _, id := range group {
		if err := checkBuildpack(filepath.Join(l.layers, folderOf(id)), id); err != nil {
			return err
		}
	}
	for _, own := range []string{"config", "sbom"} {
		if err := plainTree(filepath.Join(l.layers, own)); err != nil {
			return err
		}
	}
	if err := checkMetadata(filepath.Join(l.layers, "config", "metadata.toml")); err != nil {
		return err
	}
	return l.limits.measure(l.layers, l.app)
}

// checkBuildpack looks at a buildpack's folder: layers are folders, and beside
// each lie the files that describe it.
func checkBuildpack(dir, id string) error {
	if err := plainFolder(dir); err != nil {
		return err
	}
	entries, err := readFolder(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if stem, isDescription := strings.CutSuffix(name, ".toml"); isDescription {
			name = stem
		}
		if err := checkLayerName(name, id); err != nil {
			return err
		}
	}
	return nil
}
