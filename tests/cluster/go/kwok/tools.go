//go:build tools

// Package tools names the fake kubelet of the test cluster, so that go.mod and go.sum pin and verify all it is built from.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
