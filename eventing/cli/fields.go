package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// setField sets a field of a source's spec by path=value. The kind's schema
// decides what the value is: data={"a":1} is text where the field is a string.
func setField(k kind, spec map[string]any, assignment string) error {
	path, value, ok := strings.Cut(assignment, "=")
	if !ok || path == "" {
		return cmdline.Usagef("--set %q is not path=value", assignment)
	}
	schema := k.schema("spec")
	if schema == nil {
		return cmdline.Usagef("--set needs the schema of %s, which is not known here: write the fields in a file and name it with --spec", k.Kind)
	}
	steps := strings.Split(path, ".")
	fields := spec
	for i, step := range steps {
		var err error
		if schema, err = below(schema, step); err != nil {
			return cmdline.Usage(fmt.Errorf("--set %s: the spec of %s %w", path, k.Kind, err))
		}
		if i == len(steps)-1 {
			if fields[step], err = valueOf(schema, value); err != nil {
				return cmdline.Usage(fmt.Errorf("--set %s: %w", path, err))
			}
			return nil
		}
		if fields[step] == nil {
			fields[step] = map[string]any{}
		}
		inner, ok := fields[step].(map[string]any)
		if !ok {
			return cmdline.Usagef("--set %s: %s is no object, so nothing can be below it", path, strings.Join(steps[:i+1], "."))
		}
		fields = inner
	}
	return nil
}

// below returns the schema of a field of an object, nil when the object takes
// anything.
func below(schema *apiextensionsv1.JSONSchemaProps, name string) (*apiextensionsv1.JSONSchemaProps, error) {
	if schema == nil {
		return nil, nil
	}
	if field, ok := schema.Properties[name]; ok {
		return &field, nil
	}
	if more := schema.AdditionalProperties; more != nil && (more.Allows || more.Schema != nil) {
		return more.Schema, nil
	}
	if free := schema.XPreserveUnknownFields; free != nil && *free {
		return nil, nil
	}
	if schema.Type == "array" {
		return nil, fmt.Errorf("has a list there; give all of it at once, as in name=[a, b]")
	}
	if len(schema.Properties) == 0 {
		return nil, fmt.Errorf("has no fields there, so not %q either", name)
	}
	return nil, fmt.Errorf("has no field %q there; it has %s", name, strings.Join(slices.Sorted(maps.Keys(schema.Properties)), ", "))
}

// valueOf reads a value by the type of its field. Without a type it is YAML.
func valueOf(schema *apiextensionsv1.JSONSchemaProps, raw string) (any, error) {
	var value any
	var err error
	switch {
	case schema != nil && schema.Type == "string":
		return raw, nil
	case schema != nil && schema.XIntOrString:
		if value, err = strconv.ParseInt(raw, 10, 64); err != nil {
			return raw, nil
		}
		return value, nil
	case schema != nil && schema.Type == "integer":
		value, err = strconv.ParseInt(raw, 10, 64)
	case schema != nil && schema.Type == "number":
		value, err = strconv.ParseFloat(raw, 64)
	case schema != nil && schema.Type == "boolean":
		value, err = strconv.ParseBool(raw)
	default:
		return parse(schema, raw)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is no %s", raw, schema.Type)
	}
	return value, nil
}

// parse reads YAML, which must be a list or an object where the schema says so.
func parse(schema *apiextensionsv1.JSONSchemaProps, raw string) (any, error) {
	var value any
	asJSON, err := yaml.YAMLToJSONStrict([]byte(raw))
	if err == nil {
		err = utiljson.Unmarshal(asJSON, &value)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is no YAML: %w", raw, err)
	}
	_, isList := value.([]any)
	_, isObject := value.(map[string]any)
	switch {
	case schema != nil && schema.Type == "array" && !isList:
		return nil, fmt.Errorf("%q is no list; write one as [a, b]", raw)
	case schema != nil && schema.Type == "object" && !isObject:
		return nil, fmt.Errorf("%q is no object; write one as {name: value}, or set its fields by name.field=value", raw)
	}
	return value, nil
}
