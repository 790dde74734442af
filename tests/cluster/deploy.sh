#!/bin/sh
# `make deploy`: the operator in the local cluster, as a user has it, and a run of examples/sales.yaml with it.
# PYTHON is a Python that runs cluster.py, NEXUS the command of NEXUS.
set -eu
cluster="$PYTHON tests/cluster/cluster.py"

$cluster env >/dev/null 2>&1 || $cluster up >/dev/null
images=nexus/operator:dev=operator
for folder in task-images/*/; do
    task=$(basename "$folder")
    images="$images nexus/task-$task:dev=task-images/$task"
done
$cluster load $images
eval "$($cluster env)"
helm=$($cluster helm)

# What `kubectl apply -f crds/` may have put there becomes the release's.
"$helm" upgrade --install nexus charts/nexus --namespace nexus --create-namespace --take-ownership --wait --timeout 2m
# The image's name says nothing about what is in it.
kubectl --namespace nexus rollout restart deployment/nexus >/dev/null
kubectl --namespace nexus rollout status deployment/nexus --timeout 2m

kubectl create configmap orders --from-file=examples/orders/2026-11-23.json --from-file=examples/orders/rates.json \
    --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f - >/dev/null
kubectl apply -f examples/orders/service.yaml -f examples/sales.yaml
kubectl rollout status deployment/orders --timeout 2m
# By its address: a cluster need not have a name server.
orders=http://$(kubectl get service orders -o jsonpath='{.spec.clusterIP}')
$NEXUS run sales --watch --param "orders=$orders"
kubectl get workflowruns
