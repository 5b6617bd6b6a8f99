package containerd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// ImportPause loads the sandbox image into containerd's k8s.io namespace; it
// does nothing when the image is there.
func ImportPause(ctx context.Context, i instance.Instance, img v1.Image) error {
	present, err := ctr(ctx, i, nil, "images", "list", "-q", "name=="+PauseImage)
	if err != nil {
		return err
	}
	if bytes.Contains(present, []byte(PauseImage)) {
		return nil
	}
	ref, err := name.NewTag(PauseImage)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(i.RunDir(), "pause-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := tarball.Write(ref, img, f); err != nil {
		return fmt.Errorf("write pause image: %w", err)
	}
	if _, err := ctr(ctx, i, nil, "images", "import", f.Name()); err != nil {
		return fmt.Errorf("import pause image: %w", err)
	}
	_, err = ctr(ctx, i, nil, "images", "label", PauseImage, "io.cri-containerd.image=managed", "io.cri-containerd.pinned=pinned")
	return err
}

func ctr(ctx context.Context, i instance.Instance, stdin *os.File, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "ctr", append([]string{"--address", i.ContainerdSocket(), "--namespace", "k8s.io"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr, cmd.Stdin = &stderr, stdin
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ctr %v: %w: %s", args, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
