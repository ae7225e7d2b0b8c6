// Program vendoring makes the one module of front-end libraries that the web UI is served with, out of the files as
// their authors published them, which lie beside it with their licences. It needs no Node.
//
//	go run ./internal/lab/vendoring FILE     writes the module
package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/evanw/esbuild/pkg/api"
)

// published are the files as they are in the packages, and what they are asked for by.
//
//go:embed preact/preact.mjs preact/hooks.mjs preact/LICENSE htm/htm.module.js htm/LICENSE
var published embed.FS

var modules = map[string]string{"preact": "preact/preact.mjs", "preact/hooks": "preact/hooks.mjs", "htm": "htm/htm.module.js"}

const entry = `
import {h} from "preact";
import htm from "htm";
export {h, render, Fragment, createContext, createPortal} from "preact";
export {useState, useReducer, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useContext, useId, useErrorBoundary} from "preact/hooks";
export const html = htm.bind(h);
`

const banner = `// Made by go generate ./internal/front/webui of Preact 11.2.0 (MIT, Copyright (c) 2015-present Jason Miller) and
// HTM 3.1.1 (Apache-2.0, Copyright 2018 Google Inc.). Their files and licences: internal/lab/vendoring.`

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: vendoring FILE")
		os.Exit(2)
	}
	b, err := Bundle()
	if err == nil {
		err = os.WriteFile(os.Args[1], b, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vendoring:", err)
		os.Exit(1)
	}
}

// Bundle makes the module: the same bytes each time.
func Bundle() ([]byte, error) {
	out := api.Build(api.BuildOptions{
		Stdin:  &api.StdinOptions{Contents: entry, Sourcefile: "entry.js"},
		Bundle: true, Format: api.FormatESModule, Target: api.ES2022, Charset: api.CharsetUTF8, LegalComments: api.LegalCommentsInline,
		MinifyWhitespace: true, MinifySyntax: true, MinifyIdentifiers: true,
		Banner: map[string]string{"js": banner},
		Plugins: []api.Plugin{{Name: "published", Setup: func(b api.PluginBuild) {
			b.OnResolve(api.OnResolveOptions{Filter: ".*"}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
				if _, is := modules[a.Path]; !is {
					return api.OnResolveResult{}, fmt.Errorf("%s is not among the published files", a.Path)
				}
				return api.OnResolveResult{Path: a.Path, Namespace: "published"}, nil
			})
			b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: "published"}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
				text, err := published.ReadFile(modules[a.Path])
				// The maps that they name are not kept.
				text, _, _ = bytes.Cut(text, []byte("\n//# sourceMappingURL="))
				s := string(text)
				return api.OnLoadResult{Contents: &s, ResolveDir: path.Dir(modules[a.Path])}, err
			})
		}}},
	})
	var all []error
	for _, m := range out.Errors {
		all = append(all, errors.New(m.Text))
	}
	if len(all) > 0 {
		return nil, errors.Join(all...)
	}
	return out.OutputFiles[0].Contents, nil
}
