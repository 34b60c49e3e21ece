// Command sbom writes the software bill of materials of a Go program as CycloneDX 1.6, from what the toolchain has recorded in the
// program itself: what was linked, not what go.mod would allow. It asks nobody, and says the same of the same bytes every time.
//
//	go run ./scripts/sbom -name rancheros-operator -version v1.2.3 bin/rancheros-operator > rancheros-operator.cdx.json
package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

// document is the little of CycloneDX that is written.
type document struct {
	BOMFormat    string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component  component  `json:"component"`
	Properties []property `json:"properties"`
}

type component struct {
	Ref        string     `json:"bom-ref"`
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

func main() {
	name := flag.String("name", "", "the program's name")
	version := flag.String("version", "", "the program's version")
	flag.Parse()
	if flag.NArg() != 1 || *name == "" || *version == "" {
		fmt.Fprintln(os.Stderr, "usage: sbom -name NAME -version VERSION PROGRAM")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *name, *version, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(program, name, version string, to io.Writer) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return fmt.Errorf("reading what %s was built of: %w", program, err)
	}
	body, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("reading program: %w", err)
	}
	sum := sha256.Sum256(body)
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(describe(info, name, version, sum))
}

func describe(info *debug.BuildInfo, name, version string, sum [sha256.Size]byte) document {
	program := component{Ref: name, Type: "application", Name: name, Version: version, PURL: purl(info.Main.Path, version),
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}}}
	d := document{BOMFormat: "CycloneDX", SpecVersion: "1.6", SerialNumber: "urn:uuid:" + uuid(sum), Version: 1, Metadata: metadata{Component: program}}
	for _, setting := range info.Settings {
		d.Metadata.Properties = append(d.Metadata.Properties, property{"go:build:" + setting.Key, setting.Value})
	}
	// The standard library is linked as every module is, and has holes of its own.
	d.Components = []component{library("stdlib", strings.TrimPrefix(info.GoVersion, "go"), "")}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		d.Components = append(d.Components, library(module.Path, module.Version, module.Sum))
	}
	slices.SortFunc(d.Components, func(a, b component) int { return cmp.Compare(a.Ref, b.Ref) })
	all := dependency{Ref: name}
	for _, c := range d.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
	}
	d.Dependencies = []dependency{all}
	return d
}

// library is one module. Its sum, as in go.sum, is the SHA-256 of a list of its files' hashes.
func library(path, version, sum string) component {
	c := component{Ref: purl(path, version), Type: "library", Name: path, Version: version, PURL: purl(path, version)}
	if decoded, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:")); err == nil && len(decoded) == sha256.Size {
		c.Properties = []property{{"go:sum", sum}}
	}
	return c
}

// purl names a module as vulnerability databases do.
func purl(path, version string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "pkg:golang/" + strings.Join(parts, "/") + "@" + url.QueryEscape(version)
}

// uuid is made of the program's own bytes (RFC 9562, version 8).
func uuid(sum [sha256.Size]byte) string {
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	text := hex.EncodeToString(id)
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}
