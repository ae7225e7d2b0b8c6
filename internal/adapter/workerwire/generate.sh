#!/bin/sh
# Makes wirepb from wire.proto. It needs protoc; what it makes is kept in the repository, so nothing else does.
set -eu
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' 0
GOBIN=$bin go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN=$bin go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
PATH=$bin:$PATH protoc --go_out=wirepb --go_opt=paths=source_relative \
	--go-grpc_out=wirepb --go-grpc_opt=paths=source_relative wire.proto
