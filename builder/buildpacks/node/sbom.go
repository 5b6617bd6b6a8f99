package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/knit-dev/knit/runtime/lang/node"
)

// The part of CycloneDX 1.4 (https://cyclonedx.org/docs/1.4/json/) that a Node
// function fills: itself, Node, and its packages.
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
	Type     string    `json:"type"`
	Name     string    `json:"name"`
	Version  string    `json:"version,omitempty"`
	Hashes   []sum     `json:"hashes,omitempty"`
	Licenses []license `json:"licenses,omitempty"`
	PURL     string    `json:"purl,omitempty"`
}

type sum struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type license struct {
	License struct {
		Name string `json:"name"`
	} `json:"license"`
}

// writeSBOM holds no time and no serial number: the same packages give the same
// file.
func writeSBOM(path string, made bom) error {
	content, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return fmt.Errorf("write bill of materials: %w", err)
	}
	if err := os.WriteFile(path, append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("write bill of materials: %w", err)
	}
	return nil
}

func makeBOM(f node.Function, nodeVersion string, packages []component) bom {
	function := component{Type: "application", Name: "function"}
	if f.Manifest != nil && f.Manifest.Name != "" {
		function.Name, function.Version = f.Manifest.Name, f.Manifest.Version
	}
	version := strings.TrimPrefix(nodeVersion, "v")
	runtime := component{Type: "platform", Name: "node", Version: version, PURL: "pkg:generic/node@" + version}
	return bom{
		Format: "CycloneDX", SpecVersion: "1.4", Version: 1,
		Metadata:   metadata{function},
		Components: append([]component{runtime}, packages...),
	}
}

// library describes one npm package
// (https://github.com/package-url/purl-spec/blob/main/types-doc/npm-definition.md).
func library(name, version, integrity string, licensed any) component {
	c := component{Type: "library", Name: name, Version: version, Hashes: hexSum(integrity)}
	escaped := url.PathEscape(name)
	if scope, rest, scoped := strings.Cut(name, "/"); scoped {
		escaped = "%40" + url.PathEscape(strings.TrimPrefix(scope, "@")) + "/" + url.PathEscape(rest)
	}
	c.PURL = "pkg:npm/" + escaped + "@" + url.PathEscape(version)
	if text, ok := licensed.(string); ok && text != "" {
		var l license
		l.License.Name = text
		c.Licenses = []license{l}
	}
	return c
}
