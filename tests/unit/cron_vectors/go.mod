module nexus.dev/cron-vectors

go 1.24

require github.com/robfig/cron/v3 v3.0.1 // the version that Kubernetes 1.34 is built with
