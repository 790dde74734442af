//go:build tools

// Package tools names the S3-compatible server of the tests, so that go.mod and go.sum pin and verify all it is built from.
package tools

import _ "github.com/versity/versitygw/cmd/versitygw"
