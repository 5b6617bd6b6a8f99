package controller

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// readReport finds the image's digest in the lifecycle's report.toml. The
// kubelet passes on the last 4 KiB of it. What buildpacks say about themselves
// comes before the table [image]: only that table, the last one, is read, so
// that neither a cut nor a key of theirs named "digest" matters.
func readReport(message string) (string, error) {
	const table = "[image]"
	lines := strings.Split(message, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.TrimSpace(lines[i]) == table {
			return readImageTable(strings.Join(lines[i:], "\n"))
		}
	}
	return "", errors.New("export ended well but its report names no image; this is a fault of the builder image")
}

func readImageTable(text string) (string, error) {
	var report struct {
		Image struct {
			Digest string `toml:"digest"`
		} `toml:"image"`
	}
	if _, err := toml.Decode(text, &report); err != nil {
		return "", fmt.Errorf("read the report of export: %w", err)
	}
	digest, err := v1.NewHash(report.Image.Digest)
	if err != nil {
		return "", fmt.Errorf("the report of export has the digest %q: %w", report.Image.Digest, err)
	}
	return digest.String(), nil
}
