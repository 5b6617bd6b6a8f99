package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var functionResource = schema.GroupVersionResource{Group: "knit.dev", Version: "v1alpha1", Resource: "functions"}

// functions deploys, asks and deletes functions as a person does: by the
// program knit, and through the gateway.
type functions struct {
	*deployed
	bench *bench
	dir   string // for projects
}

// functions returns the installed platform and a folder, which close removes.
func (b *bench) functions(ctx context.Context) (f *functions, cleanup func(), err error) {
	if _, err := b.knit(ctx); err != nil {
		return nil, nil, err
	}
	d, err := b.through()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "knit-bench-")
	return &functions{deployed: d, bench: b, dir: dir}, func() { _ = os.RemoveAll(dir) }, err
}

// project is a Go function that answers with a line, in a folder of its own,
// and with a name.
func (f *functions) project(name string) (project, error) {
	p, err := newProject(filepath.Join(f.dir, name), "go")
	if err != nil {
		return p, err
	}
	return p, os.WriteFile(filepath.Join(p.dir, "knit.yaml"), []byte(manifest(name, "language: go\n  source: {path: .}")), 0o644)
}

// manifest is the document of one function.
func manifest(name, spec string) string {
	return fmt.Sprintf("apiVersion: knit.dev/v1alpha1\nkind: Function\nmetadata: {name: %s}\nspec:\n  %s\n", name, spec)
}

// image is that of a deployed function, by digest.
func (f *functions) image(ctx context.Context, name string) (string, error) {
	o, err := f.objects.Resource(functionResource).Namespace("default").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	image, _, err := unstructured.NestedString(o.Object, "status", "image")
	if err == nil && image == "" {
		err = fmt.Errorf("function %s has no image", name)
	}
	return image, err
}

// step is a line of the progress of `knit deploy`.
var step = regexp.MustCompile(`(?m)^ *([A-Za-z]+(?: [a-z]+)?) +([0-9.]+)s  `)

// run runs knit while a function is asked for an answer, and returns when that
// was first there, counted from the start of the command, and the command's
// own steps.
func (f *functions) run(ctx context.Context, name, want string, args ...string) (time.Duration, map[string]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(f.bench.bin, "knit"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(f.bench.state, "kubeconfig"))
	cmd.Stderr = &stderr
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		if err != nil {
			cancel()
		}
		ended <- err
	}()
	err := f.until(ctx, name, want)
	took := time.Since(begin)
	if failed := <-ended; failed != nil {
		return 0, nil, fmt.Errorf("knit %s: %w\n%s", strings.Join(args, " "), failed, stderr.Bytes())
	}
	steps := map[string]time.Duration{}
	for _, line := range step.FindAllStringSubmatch(stderr.String(), -1) {
		if d, err := time.ParseDuration(line[2] + "s"); err == nil {
			steps[line[1]] += d
		}
	}
	return took, steps, err
}

// until asks a function until it answers 200, with the wanted body if there is
// one.
func (f *functions) until(ctx context.Context, name, want string) error {
	for {
		body, err := f.get(ctx, name)
		if err == nil && (want == "" || body == want) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("function %s answers %q (%w), want %q", name, body, errors.Join(err, ctx.Err()), want)
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func (f *functions) get(ctx context.Context, name string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+name+".default.knit.localhost/", nil)
	if err != nil {
		return "", err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return string(body), err
}

// delete removes functions and waits until their services are gone, too; pods
// take longer to drain.
func (f *functions) delete(ctx context.Context, names ...string) error {
	for _, name := range names {
		err := f.objects.Resource(functionResource).Namespace("default").Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background})
		if err != nil {
			return err
		}
	}
	for _, name := range names {
		for {
			_, err := f.objects.Resource(serviceResource).Namespace("default").Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				break
			}
			if err != nil {
				return err
			}
			if err := sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}
