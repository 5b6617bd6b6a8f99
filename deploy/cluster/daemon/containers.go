package daemon

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/knit-dev/knit/deploy/cluster/containerd"
)

// containerdStart bounds one start of containerd, recovery of its tasks included.
const containerdStart = 60 * time.Second

// runContainerd keeps containerd running: a containerd that was killed is
// started again, and finds the running containers through their shims.
func (d *daemon) runContainerd(ctx context.Context, ready chan<- struct{}) {
	const name = "containerd"
	for restarts := 0; ctx.Err() == nil; restarts++ {
		d.board.set(name, Starting, nil)
		r, err := d.startContainerd(ctx)
		if err != nil {
			if ctx.Err() == nil {
				d.failed(name, err)
			}
			return
		}
		d.board.set(name, Ready, nil)
		if restarts == 0 {
			close(ready)
		}
		select {
		case <-ctx.Done():
			r.Stop()
			d.board.set(name, Stopped, nil)
			return
		case <-r.Exited():
			d.logs.slog("knit-cluster").Warn("containerd ended; starting it again", "error", r.Err())
		}
		select { // not in a tight loop when it cannot stay up
		case <-ctx.Done():
		case <-time.After(min(time.Duration(restarts)*time.Second, 10*time.Second)):
		}
	}
}

func (d *daemon) startContainerd(ctx context.Context) (*containerd.Runtime, error) {
	ctx, cancel := context.WithTimeout(ctx, containerdStart)
	defer cancel()
	r, err := containerd.Start(ctx, containerd.Config{
		Instance: d.Instance, RegistryUser: RegistryUser, RegistryPassword: d.certs.RegistryPassword,
		CAFile: d.certs.CA.CertFile(), CNIPlugins: containerd.FindPlugins(), CanLowerOOMScore: hasCapability(capSysResource),
	}, d.logs.writer("containerd"))
	if err != nil {
		return nil, err
	}
	if err := d.importPause(ctx); err != nil {
		r.Stop()
		return nil, err
	}
	return r, nil
}

func (d *daemon) importPause(ctx context.Context) error {
	index, err := layout.ImageIndexFromPath(d.PauseImage)
	if err != nil {
		return fmt.Errorf("read pause image %s: %w; run knit cluster up again", d.PauseImage, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		return fmt.Errorf("read pause image %s: not one image (%v); remove the folder and run knit cluster up again", d.PauseImage, err)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return fmt.Errorf("read pause image: %w", err)
	}
	return containerd.ImportPause(ctx, d.Instance, img)
}

// capSysResource is CAP_SYS_RESOURCE of <linux/capability.h>: without it no
// process may lower its OOM score.
const capSysResource = 24

func hasCapability(bit uint) bool {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "CapEff:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(rest), 16, 64)
			return err == nil && set&(1<<bit) != 0
		}
	}
	return false
}
