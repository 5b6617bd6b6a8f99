package containerd

import (
	"os"
	"path/filepath"
)

// pluginFolders are where distributions put the CNI plugins: Debian, others.
var pluginFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// FindPlugins returns the folder that holds the CNI plugins, or "".
func FindPlugins() string {
	for _, dir := range pluginFolders {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir
		}
	}
	return ""
}
