package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
)

// The part of CycloneDX 1.4 (https://cyclonedx.org/docs/1.4/json/) that a Go
// program fills: itself, and the modules and the standard library inside it.
type bom struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    metadata    `json:"metadata"`
	Components  []component `json:"components"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	PURL    string `json:"purl,omitempty"`
}

// writeSBOM describes a program by what its linker wrote into it. It holds no
// time and no serial number: the same program gives the same layer.
func writeSBOM(path string, info *debug.BuildInfo) error {
	content, err := json.MarshalIndent(makeBOM(info), "", "  ")
	if err != nil {
		return fmt.Errorf("write bill of materials: %w", err)
	}
	if err := os.WriteFile(path, append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("write bill of materials: %w", err)
	}
	return nil
}

func makeBOM(info *debug.BuildInfo) bom {
	made := bom{
		Format: "CycloneDX", SpecVersion: "1.4", Version: 1,
		Metadata:   metadata{component{Type: "application", Name: info.Main.Path}},
		Components: []component{library("std", info.GoVersion)},
	}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		made.Components = append(made.Components, library(module.Path, module.Version))
	}
	return made
}

func library(path, version string) component {
	return component{Type: "library", Name: path, Version: version, PURL: "pkg:golang/" + path + "@" + version}
}
