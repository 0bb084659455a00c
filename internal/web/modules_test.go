package web

import (
	"strings"
	"testing"
)

func TestModulesTellWhichHubsTheyServe(t *testing.T) {
	g := newRig(t)
	all := object(t, g.do("GET", "/-/modules", ""))
	modules, _ := all["modules"].([]any)
	if len(modules) != 1 || modules[0].(map[string]any)["module_key"] != "legacy" {
		t.Errorf("modules = %v, want the legacy one", all["modules"])
	}
	one := object(t, g.do("GET", "/-/modules/legacy", ""))
	hubs, _ := one["hubs"].([]any)
	if len(hubs) == 0 || hubs[0].(map[string]any)["rollout_flag"] != "legacy-only" {
		t.Errorf("hubs of legacy = %v, want each with its rollout_flag", one["hubs"])
	}
	if w := g.do("GET", "/-/modules/nonesuch", ""); w.Code != 404 || !strings.Contains(w.Body.String(), `"error":"module_not_found"`) {
		t.Errorf("an unknown module = %d %s, want 404 module_not_found", w.Code, w.Body)
	}
}
