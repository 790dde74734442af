// Prints, for each YAML text of the JSON list on standard input, the JSON that kubectl makes of it (or that it refuses it).
// `go run . < texts.json > vectors.json` makes the vectors of tests/unit/test_manifest.py anew.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/yaml" // the version that kubectl 1.34 is built with
)

type vector struct {
	YAML    string          `json:"yaml"`
	JSON    json.RawMessage `json:"json,omitempty"`
	Refused bool            `json:"refused,omitempty"`
}

func main() {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("[")
	for i, text := range texts {
		v := vector{YAML: text}
		if converted, err := yaml.YAMLToJSON([]byte(text)); err != nil {
			v.Refused = true
		} else {
			v.JSON = converted
		}
		line, err := json.Marshal(v)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		end := ","
		if i == len(texts)-1 {
			end = ""
		}
		fmt.Printf("%s%s\n", line, end)
	}
	fmt.Println("]")
}
