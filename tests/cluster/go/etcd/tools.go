//go:build tools

// Package tools names the store of the test cluster, so that go.mod and go.sum pin and verify all it is built from.
package tools

import _ "go.etcd.io/etcd/server/v3"
