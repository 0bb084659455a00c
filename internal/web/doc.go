// Package web serves people and operators: everything under /-/, and the list of hubs at the root.
//
// Each endpoint has a scope, held against the guard in one place, before anything else is looked at. What changes state takes POST only and
// refuses requests that another site's page had a browser send. Answers are JSON, or HTML where the client prefers it; errors are problem JSON.
package web
