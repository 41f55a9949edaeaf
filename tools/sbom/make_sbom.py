#!/usr/bin/env python3
"""Writes src/InferenceService.Server/sbom.cdx.json: what the server ships with, as CycloneDX 1.6.

Source: the lock files of src (name, version, content hash, who asks for whom) and the packages as `dotnet restore` left them (licence, SHA-512 of
the .nupkg). Needs nothing but Python; the same input gives the same bytes, so the file is committed and a test holds it to the lock files.
Format: https://cyclonedx.org/docs/1.6/json/
"""
import base64
import glob
import json
import os
import sys
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUTPUT = os.path.join(ROOT, "src/InferenceService.Server/sbom.cdx.json")
PACKAGES = os.environ.get("NUGET_PACKAGES") or os.path.expanduser("~/.nuget/packages")


def purl(name, version):
    return f"pkg:nuget/{name}@{version}"


def nuspec(name, version):
    path = os.path.join(PACKAGES, name.lower(), version.lower(), f"{name.lower()}.nuspec")
    metadata = ElementTree.parse(path).getroot()[0]
    return {child.tag.split("}")[-1]: child for child in metadata}


def licences(spec, name):
    licence = spec.get("license")
    if licence is not None and licence.get("type") == "expression":
        return [{"expression": licence.text}]
    url = spec.get("licenseUrl")
    if licence is None and url is None:
        sys.exit(f"{name} names no licence")
    return [{"license": {"name": licence.text if licence is not None else "see URL", **({"url": url.text} if url is not None else {})}}]


def component(name, version, content_hash):
    spec = nuspec(name, version)
    with open(os.path.join(PACKAGES, name.lower(), version.lower(), f"{name.lower()}.{version.lower()}.nupkg.sha512"), encoding="ascii") as file:
        digest = base64.b64decode(file.read()).hex()
    return {
        "type": "library",
        "bom-ref": purl(name, version),
        "supplier": {"name": spec["authors"].text},
        "name": name,
        "version": version,
        "hashes": [{"alg": "SHA-512", "content": digest}],
        "licenses": licences(spec, name),
        "purl": purl(name, version),
        "properties": [{"name": "nuget:contentHash", "value": content_hash}],
    }


def main():
    packages, needs, direct = {}, {}, set()
    for path in sorted(glob.glob(os.path.join(ROOT, "src/*/packages.lock.json"))):
        with open(path, encoding="utf-8") as file:
            frameworks = json.load(file)["dependencies"]
        for name, entry in (item for framework in frameworks.values() for item in framework.items()):
            if entry["type"] == "Project":
                continue
            packages[name] = (entry["resolved"], entry["contentHash"])
            needs.setdefault(name, set()).update(entry.get("dependencies", {}))
            if entry["type"] == "Direct":
                direct.add(name)
    props = ElementTree.parse(os.path.join(ROOT, "Directory.Build.props")).getroot()
    version = next((element.text for element in props.iter("Version")), "0.1.0")
    framework = next(element.text for element in props.iter("TargetFramework")).removeprefix("net")
    this = "inference-service"
    runtime = [
        {"type": "framework", "bom-ref": f"framework:{name}", "supplier": {"name": "Microsoft"}, "name": name, "version": framework,
         "licenses": [{"expression": "MIT"}], "description": "Comes with the runtime or the base image, whose patch level decides."}
        for name in ("Microsoft.AspNetCore.App", "Microsoft.NETCore.App")
    ]
    names = sorted(packages, key=str.lower)

    def refs(wanted):
        # What the framework brings is not in the lock file.
        return sorted(purl(name, packages[name][0]) for name in wanted if name in packages)

    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": this, "name": this, "version": version}},
        "components": [component(name, *packages[name]) for name in names] + runtime,
        "dependencies": [{"ref": this, "dependsOn": refs(direct) + [entry["bom-ref"] for entry in runtime]}]
        + [{"ref": purl(name, packages[name][0]), "dependsOn": refs(needs[name])} for name in names],
    }
    with open(OUTPUT, "w", encoding="utf-8", newline="\n") as file:
        json.dump(document, file, indent=2, ensure_ascii=False)
        file.write("\n")
    print(f"{os.path.relpath(OUTPUT, ROOT)}: {len(names)} packages, {len(runtime)} frameworks")


main()
