//go:build tools

// Package tools names helm, so that go.mod and go.sum pin and verify all it is built from.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
