// Which optimiser trains which group of the network's parameters: the run file's keys optimizer and groups.
#include "train/run_config.h"

#include "base/plain_text.h"
#include "net/families/unet.h"

#include <stdio.h>
#include <string.h>

static lm_status unknown_group(lm_error *e, const char *name, const char *entry) {
    char names[160] = "";
    for (int i = 0; i < LM_UNET_GROUPS; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s",
                 !i                       ? ""
                 : i + 1 < LM_UNET_GROUPS ? ", "
                                          : " and ",
                 lm_unet_group_describe((lm_unet_group)i).name);
    }
    return lm_fail(e, LM_USAGE, "%s: groups: \"%.60s\" begins with no group's name; there are %s", name, entry, names);
}

static int find_group(const char *word, size_t length) {
    for (int i = 0; i < LM_UNET_GROUPS; i++) {
        const char *name = lm_unet_group_describe((lm_unet_group)i).name;
        if (strlen(name) == length && !strncmp(name, word, length)) return i;
    }
    return -1;
}

// "GROUP OPTIMIZER [RATE]"
static lm_status read_entry(lm_error *e, const char *name, const lm_run_config *c, const char *entry, bool *seen,
                            lm_group_rule *rules) {
    static const char spaces[] = " \t";
    const size_t first = strcspn(entry, spaces);
    const int group = find_group(entry, first);
    if (group < 0) return unknown_group(e, name, entry);
    if (seen[group]) return lm_fail(e, LM_USAGE, "%s: groups: %.*s stands there twice", name, (int)first, entry);
    seen[group] = true;
    const char *word = entry + first + strspn(entry + first, spaces);
    const size_t length = strcspn(word, spaces);
    const bool muon = length == 4 && !strncmp(word, "muon", 4);
    if (!muon && !(length == 5 && !strncmp(word, "adamw", 5)))
        return lm_fail(e, LM_USAGE, "%s: groups: \"%.60s\": after the group comes adamw or muon", name, entry);
    const lm_unet_group_info info = lm_unet_group_describe((lm_unet_group)group);
    if (muon && !info.matrices)
        return lm_fail(e, LM_USAGE, "%s: groups: \"%.60s\": %s are no matrices; adamw takes them", name, entry,
                       info.holds);
    rules[group] = (lm_group_rule){muon, muon ? c->muon_rate : c->learning_rate};
    const char *number = word + length + strspn(word + length, spaces);
    if (!*number) return LM_OK;
    char *end;
    const double rate = lm_text_number(number, &end);
    if (end == number || *end || !(rate >= 0 && rate <= 10))
        return lm_fail(e, LM_USAGE, "%s: groups: \"%.60s\": a rate is a number from 0 to 10", name, entry);
    rules[group].rate = rate;
    return LM_OK;
}

lm_status lm_run_config_rules(lm_error *e, const char *name, const lm_run_config *c, lm_group_rule *out) {
    const bool muon = !strcmp(c->optimizer, "muon");
    if (!muon && strcmp(c->optimizer, "adamw") != 0)
        return lm_fail(e, LM_USAGE, "%s: optimizer must be adamw or muon, not \"%.40s\"", name, c->optimizer);
    for (int i = 0; i < LM_UNET_GROUPS; i++) {
        const bool by_muon = muon && lm_unet_group_describe((lm_unet_group)i).muon;
        out[i] = (lm_group_rule){by_muon, by_muon ? c->muon_rate : c->learning_rate};
    }
    bool seen[LM_UNET_GROUPS] = {false};
    for (int i = 0; i < c->groups.count; i++) LM_TRY(read_entry(e, name, c, c->groups.at[i], seen, out));
    return LM_OK;
}
