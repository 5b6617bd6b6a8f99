package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func (b *bench) measureColdGo(ctx context.Context) ([]figure, error) {
	return b.functionColdStarts(ctx, "go", "≤ 0.7 s")
}

func (b *bench) measureColdPython(ctx context.Context) ([]figure, error) {
	return b.functionColdStarts(ctx, "python", "≤ 0.9 s")
}

func (b *bench) measureColdNode(ctx context.Context) ([]figure, error) {
	return b.functionColdStarts(ctx, "node", "≤ 1.0 s")
}

// functionColdStarts builds the template of a language, deploys its image under
// many names, waits until they are at zero, and times a request to each.
func (b *bench) functionColdStarts(ctx context.Context, language, aim string) ([]figure, error) {
	f, cleanup, err := b.functions(ctx)
	if err != nil {
		return nil, err
	}
	defer cleanup()
	built := "bench-" + language
	dir := filepath.Join(f.dir, built)
	if err := b.command(ctx, "init", dir, "--language", language); err != nil {
		return nil, err
	}
	if _, _, err := f.run(ctx, built, "", "deploy", dir); err != nil {
		return nil, err
	}
	image, err := f.image(ctx, built)
	if err != nil {
		return nil, err
	}
	names, err := f.many(ctx, "bench-cold-"+language, b.samples, "source: {image: "+image+"}")
	if err != nil {
		return nil, err
	}
	if err := f.atZero(ctx); err != nil {
		return nil, err
	}
	figures, err := b.timeColdStarts(ctx, f.deployed, names, "Function in "+language+" at zero → first 200", aim)
	if err != nil {
		return nil, err
	}
	return figures, f.delete(ctx, append(names, built)...)
}

// many deploys functions of one spec by one command.
func (f *functions) many(ctx context.Context, prefix string, count int, spec string) ([]string, error) {
	var names, documents []string
	for n := range count {
		names = append(names, fmt.Sprintf("%s-%d", prefix, n))
		documents = append(documents, manifest(names[n], spec))
	}
	file := filepath.Join(f.dir, prefix+".yaml")
	if err := os.WriteFile(file, []byte(strings.Join(documents, "---\n")), 0o644); err != nil {
		return nil, err
	}
	return names, f.bench.command(ctx, "deploy", file)
}
