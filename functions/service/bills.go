package service

import (
	"archive/tar"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// maxSBOM is the most that is unpacked of a layer with bills, in bytes;
	// maxBills how many bills it may have.
	maxSBOM  = 8 << 20
	maxBills = 256
	// billName is the file of a layer's bill in CycloneDX (CNB buildpack
	// specification, "Software-Bill-of-Materials").
	billName = "sbom.cdx.json"
)

// bill is a CycloneDX document, as far as several are joined into one. What
// stands in a component is passed on as it is.
type bill struct {
	Format      string            `json:"bomFormat"`
	SpecVersion string            `json:"specVersion"`
	Version     int               `json:"version"`
	Metadata    billMetadata      `json:"metadata"`
	Components  []json.RawMessage `json:"components"`
}

type billMetadata struct {
	Component json.RawMessage `json:"component,omitempty"`
}

// identity is what makes a component the same in two bills.
type identity struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	PURL    string `json:"purl,omitempty"`
}

// readBills joins the bills of a layer, one for each layer of the image, into
// the bill of the image.
func readBills(layer v1.Layer, image string) ([]byte, error) {
	content, err := layer.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	bounded := &io.LimitedReader{R: content, N: maxSBOM}
	files := tar.NewReader(bounded)
	var bills []bill
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, overLimit(bounded, err)
		}
		if header.Typeflag != tar.TypeReg || path.Base(header.Name) != billName {
			continue
		}
		if len(bills) == maxBills {
			return nil, fmt.Errorf("it has more than %d files", maxBills)
		}
		var one bill
		if err := json.NewDecoder(files).Decode(&one); err != nil {
			return nil, overLimit(bounded, fmt.Errorf("%s: %w", header.Name, err))
		}
		if one.Format != "CycloneDX" {
			return nil, fmt.Errorf("%s is not CycloneDX", header.Name)
		}
		bills = append(bills, one)
	}
	return json.MarshalIndent(join(bills, image), "", "  ")
}

func overLimit(bounded *io.LimitedReader, err error) error {
	if bounded.N <= 0 {
		return fmt.Errorf("it has more than %d bytes unpacked", maxSBOM)
	}
	return err
}

// join makes one bill: the image, and every component once, in the order found.
// What a bill is about is a component of the image.
func join(bills []bill, image string) bill {
	about, err := json.Marshal(identity{Type: "container", Name: image})
	if err != nil {
		panic("strings do not marshal: " + err.Error())
	}
	all := bill{Format: "CycloneDX", SpecVersion: "1.4", Version: 1, Metadata: billMetadata{about}, Components: []json.RawMessage{}}
	seen := map[identity]bool{}
	for _, one := range bills {
		all.SpecVersion = max(all.SpecVersion, one.SpecVersion)
		for _, component := range append([]json.RawMessage{one.Metadata.Component}, one.Components...) {
			var id identity
			if json.Unmarshal(component, &id) != nil || cmp.Or(id.Name, id.PURL) == "" || seen[id] {
				continue
			}
			seen[id] = true
			all.Components = append(all.Components, component)
		}
	}
	return all
}
