package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func using(references ...string) func(*Options) {
	return func(o *Options) {
		o.InUse = func(context.Context) ([]string, error) { return references, nil }
	}
}

func TestCollectDecidesByTagUseAndAge(t *testing.T) {
	old := image(t, 2)
	digest := digestOf(t, old)
	unanswered := func(o *Options) {
		o.InUse = func(context.Context) ([]string, error) { return nil, errors.New("the API server is away") }
	}
	cases := map[string]struct {
		option func(*Options)
		young  bool
		kept   bool
	}{
		"old and used by nobody":       {option: using()},
		"old and another is used":      {option: using("registry:5000/app@" + digestOf(t, image(t, 1)))},
		"young":                        {option: using(), young: true, kept: true},
		"deployed by digest":           {option: using("198.18.0.1:5000/app@" + digest), kept: true},
		"users are not known":          {option: func(*Options) {}, kept: true},
		"users cannot be asked":        {option: unanswered, kept: true},
		"a user's image is unreadable": {option: using("app:latest"), kept: true},
	}
	for reason, c := range cases {
		t.Run(reason, func(t *testing.T) {
			h := serve(t, t.TempDir(), c.option)
			h.push(t, "app:v1", old)
			h.push(t, "app:v1", image(t, 1)) // takes the tag away
			if !c.young {
				h.age(t)
			}
			freed := h.collect(t)
			if got := h.has(t, "app@"+digest); got != c.kept {
				t.Errorf("kept: %t, want %t", got, c.kept)
			}
			if c.kept {
				h.mustPull(t, "app@"+digest)
			} else if freed < 2*4096 {
				t.Errorf("%d bytes freed, the layers alone had more", freed)
			}
			h.mustPull(t, "app:v1")
		})
	}
}

func TestCollectKeepsThePartsOfAnIndex(t *testing.T) {
	h := serve(t, t.TempDir(), using())
	part, orphan := image(t, 1), image(t, 1)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: part})
	if err := remote.WriteIndex(h.ref(t, "app:v1"), index, h.options(t)...); err != nil {
		t.Fatal(err)
	}
	h.push(t, "app@"+digestOf(t, orphan), orphan)
	h.age(t)
	h.collect(t)
	h.mustPull(t, "app@"+digestOf(t, part))
	if h.has(t, "app@"+digestOf(t, orphan)) {
		t.Error("the manifest of no index and no tag is still there")
	}
}

func TestCollectOfAnEmptyRegistry(t *testing.T) {
	h := serve(t, t.TempDir(), using())
	if freed := h.collect(t); freed != 0 {
		t.Errorf("%d bytes freed of nothing", freed)
	}
}

func TestCollectRemovesAbandonedUploadsOnly(t *testing.T) {
	h := serve(t, t.TempDir())
	begin := func() string {
		if status := h.request(t, http.MethodPost, "/v2/app/blobs/uploads/"); status != http.StatusAccepted {
			t.Fatalf("status %d", status)
		}
		dirs, err := filepath.Glob(filepath.Join(h.root, "docker/registry/v2/repositories/app/_uploads/*"))
		if err != nil || len(dirs) == 0 {
			t.Fatal(dirs, err)
		}
		return dirs[len(dirs)-1]
	}
	abandoned := begin()
	h.age(t)
	h.collect(t)
	if _, err := os.Stat(abandoned); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the abandoned upload: %v", err)
	}
	running := begin()
	h.collect(t)
	if _, err := os.Stat(running); err != nil {
		t.Errorf("the running upload: %v", err)
	}
}

// A push that is told "this layer is there" does not send it.
func TestALayerThatAPushFoundIsNotCollected(t *testing.T) {
	h := serve(t, t.TempDir())
	img := image(t, 2)
	h.push(t, "app:v1", img)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	h.remove(t, "app@"+digestOf(t, img))
	h.age(t)
	found, other := "/v2/app/blobs/"+digestOf(t, layers[0]), "/v2/app/blobs/"+digestOf(t, layers[1])
	if status := h.request(t, http.MethodHead, found); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	h.collect(t)
	if status := h.request(t, http.MethodHead, found); status != http.StatusOK {
		t.Errorf("the layer that the push found: status %d", status)
	}
	if status := h.request(t, http.MethodHead, other); status != http.StatusNotFound {
		t.Errorf("the layer that nobody asked for: status %d", status)
	}
}

// Every round begins with old layers that nothing needs, so that pushes find
// them while collections remove them.
func TestPushesDuringCollectionsLoseNothing(t *testing.T) {
	const rounds, pushers = 12, 6
	h := serve(t, t.TempDir(), using())
	images := make([]v1.Image, pushers)
	base := image(t, 4)
	shared, err := base.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i := range images {
		if images[i], err = mutate.AppendLayers(image(t, 1), shared...); err != nil {
			t.Fatal(err)
		}
	}
	ref := func(i int) string { return fmt.Sprintf("app%d:v1", i%3) + fmt.Sprint(i) }
	for round := range rounds {
		h.age(t)
		var group sync.WaitGroup
		stop := make(chan struct{})
		collected := make(chan error, 1)
		go func() {
			for {
				if _, err := h.Collect(t.Context()); err != nil {
					collected <- err
					return
				}
				select {
				case <-stop:
					collected <- nil
					return
				default:
				}
			}
		}()
		for i, img := range images {
			group.Go(func() {
				if err := remote.Write(h.ref(t, ref(i)), img, h.options(t)...); err != nil {
					t.Errorf("round %d, push %d: %v", round, i, err)
				}
			})
		}
		group.Wait()
		close(stop)
		if err := <-collected; err != nil {
			t.Fatalf("round %d: collect: %v", round, err)
		}
		for i := range images {
			got, err := remote.Image(h.ref(t, ref(i)), h.options(t)...)
			if err == nil {
				err = validate.Image(got)
			}
			if err != nil {
				t.Fatalf("round %d, image %d is broken: %v", round, i, err)
			}
		}
		for i, img := range images {
			h.remove(t, fmt.Sprintf("app%d@", i%3)+digestOf(t, img))
		}
	}
}
