# shellcheck shell=bash
# What the scripts share about apt; sourced. The one reader of this machine's package sources.

# apt_source SUITES [COMPONENTS]: prints a deb822 entry for other suites of Debian, made from this machine's own entry, so that
# its mirror, keys and proxy are used and no host is named. COMPONENTS: those of the own entry by default. Status 1 where
# this machine has no entry of its own for Debian. An entry signed with Debian's key is preferred: a third party's may
# carry the name of the same suite.
apt_source() {
	local own signed file root="${APT_SOURCE_ROOT:-}" # the root is another one in tests alone
	# shellcheck source=/dev/null
	own="$(. "$root/etc/os-release" 2>/dev/null && [[ "${ID:-}" == debian ]] && echo "${VERSION_CODENAME:-}")" || return 1
	[[ -n "$own" ]] || return 1
	for signed in debian-archive .; do
		for file in "$root"/etc/apt/sources.list.d/*.sources; do
			[[ -r "$file" && "$file" != */orchestrate-newer.sources ]] || continue
			awk -v own="$own" -v suites="$1" -v components="${2:-}" -v signed="$signed" '
				function out() {
					if (!done && deb && hit && main && !off && (signed == "." || entry ~ signed)) { printf "%s", entry; done = 1 }
					entry = ""; deb = hit = main = off = 0
				}
				/^[ \t]*$/ { out(); next }
				/^#/ { next }
				tolower($1) == "types:" { for (i = 2; i <= NF; i++) if ($i == "deb") deb = 1; entry = entry "Types: deb\n"; next }
				tolower($1) == "suites:" {
					for (i = 2; i <= NF; i++) if ($i == own || $i == "stable" || $i == "oldstable") hit = 1
					entry = entry "Suites: " suites "\n"; next
				}
				tolower($1) == "components:" {
					for (i = 2; i <= NF; i++) if ($i == "main") main = 1
					if (components != "") { entry = entry "Components: " components "\n"; next }
				}
				tolower($1) == "enabled:" && tolower($2) ~ /^(no|false|off|0)$/ { off = 1 }
				{ entry = entry $0 "\n" }
				END { out() }
			' "$file" | grep . && return 0
		done
		for file in "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*.list; do
			[[ -r "$file" ]] || continue
			awk -v own="$own" -v suites="$1" -v components="${2:-}" -v signed="$signed" '
				$1 == "deb" {
					sub(/#.*/, "")
					start = 2; options = ""; main = 0; known = ""
					if ($2 ~ /^\[/) {
						while (start < NF && $start !~ /\]$/) { options = options $start " "; start++ }
						options = options $start; start++
					}
					if ($(start + 1) != own && $(start + 1) != "stable" && $(start + 1) != "oldstable") next
					for (i = start + 2; i <= NF; i++) { if ($i == "main") main = 1; known = known " " $i }
					# without signed-by the key is one of the system, which holds Debian its own
					if (!main || (signed != "." && options ~ /signed-by/ && options !~ signed)) next
					print "Types: deb"; print "URIs: " $start; print "Suites: " suites
					print "Components: " (components != "" ? components : substr(known, 2))
					gsub(/[][]/, " ", options); n = split(options, option, " ")
					for (i = 1; i <= n; i++) {
						split(option[i], pair, "=")
						if (pair[1] == "signed-by") print "Signed-By: " pair[2]
						if (pair[1] == "trusted") print "Trusted: " pair[2]
						if (pair[1] == "check-valid-until") print "Check-Valid-Until: " pair[2]
					}
					exit
				}
			' "$file" | grep . && return 0
		done
	done
	return 1
}
